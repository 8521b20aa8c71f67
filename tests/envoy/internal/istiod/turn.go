package istiod

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/identity"

	// The types of all filters, so that a listener can be written as JSON.
	_ "istio.io/istio/pkg/config/xds"
)

// herald is a workload beside the tested one that shows what istiod has heard.
//
// After a World, one object of each of its kinds is changed for the herald, to
// what shows in the herald's listener. istiod hears of the objects of a kind in
// the order in which they changed. So once the herald's listener has all marks,
// istiod knows the World.
var herald = Workload{Name: "herald", Namespace: "herald", Labels: map[string]string{"app": "herald"}}

const heraldAddress = "127.0.0.1"

// mark is an object for the herald and what its listener then has.
type mark struct {
	kind, version string
	spec          object
	seen          string
}

func marks(number int) []mark {
	word := fmt.Sprintf("turn-%d", number)
	selector := object{"matchLabels": anything(herald.Labels)}
	// Ports come round again, so that any number of turns finds some.
	declared, strict := 20000+number%10000, 30000+number%10000
	return []mark{
		{"AuthorizationPolicy", "security.istio.io/v1", object{"selector": selector, "action": "DENY", "rules": list{
			object{"to": list{object{"operation": object{"paths": list{"/" + word}}}}}}}, fmt.Sprintf(`"/%s"`, word)},
		{"RequestAuthentication", "security.istio.io/v1", object{"selector": selector, "jwtRules": list{
			object{"issuer": word, "jwks": identity.JWKS()}}}, fmt.Sprintf("%q", word)},
		{"PeerAuthentication", "security.istio.io/v1", object{"selector": selector, "portLevelMtls": object{
			fmt.Sprint(strict): object{"mode": "STRICT"}}}, fmt.Sprintf(`"destinationPort":%d`, strict)},
		{"Service", "v1", object{"selector": anything(herald.Labels), "ports": list{
			object{"name": "tcp", "port": 80, "targetPort": declared}}}, fmt.Sprintf(`"destinationPort":%d`, declared)},
	}
}

// await sets the mesh configuration of a World, then all marks, and waits until
// the herald shows them.
func (c *Control) await(ctx context.Context, mesh string) error {
	c.turn++
	// The mesh configuration has its mark in itself: nobody here waits to be spoken to. (Of the
	// access log, istiod may keep an old form when a proxy connects during the change.)
	timeout := fmt.Sprintf("%ds", 60+c.turn)
	merged := object{}
	for _, part := range []string{c.mesh, mesh} {
		if err := yaml.Unmarshal([]byte(part), &merged); err != nil {
			return err
		}
	}
	merged["protocolDetectionTimeout"] = timeout
	if err := c.configure(ctx, mustYAML(merged)); err != nil {
		return err
	}
	wanted := []string{fmt.Sprintf(`"listenerFiltersTimeout":%q`, timeout)}
	for _, m := range marks(c.turn) {
		if err := c.set(ctx, m); err != nil {
			return fmt.Errorf("%s of the herald: %w", m.kind, err)
		}
		wanted = append(wanted, m.seen)
	}
	return c.listen(ctx, wanted)
}

// set makes an object of the herald be as it is wanted.
func (c *Control) set(ctx context.Context, m mark) error {
	o := object{"apiVersion": m.version, "kind": m.kind, "metadata": object{"name": herald.Name}, "spec": m.spec}
	_, err := c.objects.Resource(resources[m.kind]).Namespace(herald.Namespace).Apply(ctx, herald.Name,
		&unstructured.Unstructured{Object: o}, metav1.ApplyOptions{FieldManager: ours, Force: true})
	return err
}

// listen reads what istiod pushes to the herald until all marks are in it.
func (c *Control) listen(ctx context.Context, wanted []string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.open(ctx, herald, heraldAddress)
	if err != nil {
		return err
	}
	for {
		listeners, err := s.receive()
		if err != nil {
			return fmt.Errorf("istiod has not told the herald of %s: %w", strings.Join(wanted, ", "), err)
		}
		text, err := compact(listeners)
		if err != nil {
			return err
		}
		wanted = slices.DeleteFunc(wanted, func(mark string) bool { return strings.Contains(text, mark) })
		if len(wanted) == 0 {
			return nil
		}
	}
}

// compact writes listeners as JSON without blanks: protojson puts some at random.
func compact(listeners []*listener.Listener) (string, error) {
	var out bytes.Buffer
	for _, l := range listeners {
		text, err := protojson.Marshal(l)
		if err != nil {
			return "", err
		}
		if err := json.Compact(&out, text); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

func mustYAML(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		panic(err) // plain maps, lists and strings
	}
	return string(text)
}
