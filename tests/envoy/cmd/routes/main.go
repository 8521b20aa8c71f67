// Command routes makes random meshes, gives them to Istio's own code, and writes
// what its configuration does with requests.
//
//	routes [-requests N] [-only N] [-envoy] SEED COUNT OUTDIR
//
// OUTDIR/wNNNN/manifests.yaml is what a person could apply. routes.json beside it:
//
//	{"proxies": [{
//	  "name", "namespace", "ip", "labels", "gateway": bool,
//	  "requests": [{"request": traffic.Request, "result": outbound.Result}],
//	  "view": outbound.View
//	}]}
//
// A request goes to address:port (for a gateway address:targetPort). addressOf
// says what the address is of: a service (its ClusterIP), a pod (behind a headless
// Service), a serviceEntry, a gateway, or external, which is where DNS leads with
// every other name. A Host header with a port is in headers.host, otherwise it is host.
//
// A result's outcome is one of
//
//	routed       to clusters, at least one of which exists
//	503          to clusters, none of which exists
//	404          no virtual host or no route
//	redirect, direct   the route answers
//	passthrough  to where the caller wanted, unknown to the mesh
//	blocked      by REGISTRY_ONLY: HTTP gets 502, others are closed
//	refused      Envoy does not take the listener: two filter chains match the same
//	reset        no filter chain, or one that speaks something else
//
// and its other fields are those of the route or of the filter chain without HTTP.
// Names that came from no object are as Istio makes them.
//
// With -envoy a real Envoy gets the route configurations too, and must choose the
// same virtual hosts and routes: that is the proof of what is said here of matches.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"istio.io/istio/pkg/log"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/outbound"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/traffic"
)

type document struct {
	Proxies []proxy `json:"proxies"`
}

type proxy struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	IP        string            `json:"ip"`
	Labels    map[string]string `json:"labels"`
	Gateway   bool              `json:"gateway"`
	Requests  []asked           `json:"requests"`
	View      outbound.View     `json:"view"`
}

type asked struct {
	Request traffic.Request `json:"request"`
	Result  outbound.Result `json:"result"`
}

func main() {
	requests := flag.Int("requests", 30, "requests for each proxy")
	only := flag.Int("only", 0, "make only the World of this number")
	prove := flag.Bool("envoy", false, "ask a real Envoy too")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: routes [-requests N] [-only N] [-envoy] SEED COUNT OUTDIR")
		os.Exit(2)
	}
	seed, err := strconv.ParseUint(flag.Arg(0), 10, 64)
	if err != nil {
		fail(err)
	}
	count, err := strconv.Atoi(flag.Arg(1))
	if err != nil {
		fail(err)
	}
	// Istio's loggers would tell of every object that leads nowhere.
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	start, all := time.Now(), tally{}
	for i := range count {
		if *only != 0 && *only != i+1 {
			continue
		}
		if err := record(seed, i, *requests, *prove, flag.Arg(2), all); err != nil {
			fail(fmt.Errorf("World %d: %w", i+1, err))
		}
	}
	fmt.Printf("seed %d, %.1fs:%s\n", seed, time.Since(start).Seconds(), all)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "routes:", err)
	os.Exit(1)
}

func record(seed uint64, index, requests int, prove bool, dir string, all tally) error {
	world, err := traffic.Make(seed, index, requests, outbound.Check)
	if err != nil {
		return err
	}
	configs, err := outbound.Build(world)
	if err != nil {
		return err
	}
	if prove {
		if err := proven(world, configs, all); err != nil {
			return err
		}
	}
	all.count("Worlds", "", true)
	for _, kind := range []string{"VirtualService", "DestinationRule", "ServiceEntry", "Sidecar", "Gateway"} {
		all["objects "+kind] += strings.Count(string(world.Manifests), "\nkind: "+kind+"\n")
	}
	all["objects delegate"] += strings.Count(string(world.Manifests), "\n  name: delegate")
	var out document
	for i, p := range world.Proxies {
		one := proxy{Name: p.Name, Namespace: p.Namespace, IP: p.IP, Labels: p.Labels, Gateway: p.Gateway, View: configs[i].View()}
		all.count("proxies", "", true)
		for _, r := range p.Requests {
			result := configs[i].Ask(r)
			all.result(p, r, result)
			one.Requests = append(one.Requests, asked{r, result})
		}
		out.Proxies = append(out.Proxies, one)
	}
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	dir = filepath.Join(dir, world.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "manifests.yaml"), world.Manifests, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "routes.json"), append(text, '\n'), 0o644)
}

func proven(world *traffic.World, configs []*outbound.Config, all tally) error {
	dir, err := os.MkdirTemp("", "routes")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	asked, differences, err := outbound.Prove(dir, world, configs)
	all["proven by Envoy"] += asked
	all["not as Envoy"] += len(differences)
	for _, d := range differences {
		fmt.Println(world.Name+":", d)
	}
	return err
}

// tally counts what there was, so that nothing is rare unseen.
type tally map[string]int

func (t tally) count(group, name string, is bool) {
	if is {
		t[strings.TrimSpace(group+" "+name)]++
	}
}

func (t tally) result(p traffic.Proxy, r traffic.Request, result outbound.Result) {
	t.count("requests", "", true)
	t.count("outcome", result.Outcome, true)
	t.count("protocol", r.Protocol, true)
	t.count("has", "virtualService", result.VirtualService != nil)
	t.count("has", "virtualService without HTTP", result.VirtualService != nil && result.RouteConfiguration == "")
	t.count("has", "virtualService at the gateway", result.VirtualService != nil && p.Gateway)
	t.count("has", "several clusters", len(result.Clusters) > 1)
	t.count("has", "fault", result.Fault != nil)
	t.count("has", "rewrite", result.Rewrite != nil)
	t.count("has", "mirror", len(result.Mirrors) > 0)
	t.count("has", "a delegate's name in its route's", strings.Contains(result.Route, "-route-"))
	missing, rule, empty := false, false, false
	for _, c := range result.Clusters {
		missing = missing || !c.Exists
		rule = rule || c.DestinationRule != nil
		empty = empty || c.Endpoints != nil && *c.Endpoints == 0
	}
	t.count("has", "destinationRule", rule)
	t.count("has", "missing cluster", missing)
	t.count("has", "cluster without endpoints", empty)
}

func (t tally) String() string {
	var names []string
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		fmt.Fprintf(&out, "\n  %7d %s", t[name], name)
	}
	return out.String()
}
