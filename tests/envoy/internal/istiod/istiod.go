// Package istiod asks a running istiod for the inbound listener of a workload.
//
// One World at a time is in the cluster, so that each has the mesh configuration
// and the root namespace for itself. When istiod has heard of all of it, a
// second workload tells (turn.go).
package istiod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	kubeerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pkg/kube"
)

const (
	root = "istio-system"
	// discovery is istiod's port for proxies without a certificate.
	discovery = 15010
	// ours is the label of what a World brought, so that the next one can remove it.
	ours     = "kubectl-mesh.dev/oracle"
	patience = 30 * time.Second
)

// resources are the kinds of a World that istiod reads.
var resources = map[string]schema.GroupVersionResource{
	"AuthorizationPolicy":   {Group: "security.istio.io", Version: "v1", Resource: "authorizationpolicies"},
	"PeerAuthentication":    {Group: "security.istio.io", Version: "v1", Resource: "peerauthentications"},
	"RequestAuthentication": {Group: "security.istio.io", Version: "v1", Resource: "requestauthentications"},
	"Service":               {Version: "v1", Resource: "services"},
}

var (
	configMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
)

type object = map[string]any
type list = []any

// Workload is whose listener is wanted.
type Workload struct {
	Name, Namespace string
	Labels          map[string]string
}

// Control is a cluster with an istiod.
type Control struct {
	objects dynamic.Interface
	forward kube.PortForwarder
	istiod  *grpc.ClientConn
	// mesh is the cluster's own mesh configuration.
	mesh string
	// turn counts the Worlds.
	turn int
}

// Connect reaches the cluster of $KUBECONFIG, and puts the workload's pod into
// it. The pod never runs: istiod only needs to know of it.
func Connect(ctx context.Context, workload Workload) (*Control, error) {
	clientConfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := clientConfig.ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // all that the server takes
	c := &Control{}
	if c.objects, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	configMap, err := c.objects.Resource(configMaps).Namespace(root).Get(ctx, "istio", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("mesh configuration: %w", err)
	}
	c.mesh, _, _ = unstructured.NestedString(configMap.Object, "data", "mesh")
	if err := c.connect(ctx, clientConfig); err != nil {
		return nil, err
	}
	for _, w := range []Workload{workload, herald} {
		if err := c.install(ctx, w); err != nil {
			c.Close(ctx)
			return nil, err
		}
	}
	return c, nil
}

// connect opens a way to istiod.
func (c *Control) connect(ctx context.Context, config clientcmd.ClientConfig) error {
	running, err := c.objects.Resource(pods).Namespace(root).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return err
	}
	if len(running.Items) == 0 {
		return fmt.Errorf("no istiod in namespace %s", root)
	}
	client, err := kube.NewCLIClient(config)
	if err != nil {
		return err
	}
	if c.forward, err = client.NewPortForwarder(running.Items[0].GetName(), root, "", 0, discovery); err != nil {
		return err
	}
	if err := c.forward.Start(); err != nil {
		return err
	}
	c.istiod, err = grpc.NewClient(c.forward.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

// Close takes the last World out of the cluster.
func (c *Control) Close(ctx context.Context) error {
	err := errors.Join(c.clear(ctx), c.configure(ctx, c.mesh))
	c.forward.Close()
	return errors.Join(err, c.istiod.Close())
}

// install makes a workload with its namespace, if they are not there already.
func (c *Control) install(ctx context.Context, w Workload) error {
	if err := c.namespace(ctx, w.Namespace); err != nil {
		return err
	}
	account := object{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": object{"name": w.Name}}
	pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": w.Name, "labels": anything(w.Labels)},
		"spec": object{"serviceAccountName": w.Name,
			// Nobody is to run it.
			"schedulingGates": list{object{"name": ours}},
			"containers":      list{object{"name": w.Name, "image": "example/target"}}}}
	return errors.Join(
		existing(c.create(ctx, serviceAccounts, w.Namespace, account)),
		existing(c.create(ctx, pods, w.Namespace, pod)))
}

func (c *Control) namespace(ctx context.Context, name string) error {
	return existing(c.create(ctx, namespaces, "", object{"apiVersion": "v1", "kind": "Namespace",
		"metadata": object{"name": name, "labels": object{"istio-injection": "enabled"}}}))
}

func (c *Control) create(ctx context.Context, resource schema.GroupVersionResource, namespace string, o object) error {
	_, err := c.objects.Resource(resource).Namespace(namespace).Create(ctx, &unstructured.Unstructured{Object: o}, metav1.CreateOptions{})
	return err
}

// existing is no error about an object that is there already.
func existing(err error) error {
	if kubeerrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// Refusal is an object that the API server, or istiod's webhook in it, did not take.
type Refusal struct{ Object, Reason string }

// Apply puts a World into the cluster in place of the last one, and waits until
// istiod knows it. It returns the manifests without what was refused.
func (c *Control) Apply(ctx context.Context, manifests []byte) (accepted []byte, refused []Refusal, err error) {
	if err := c.clear(ctx); err != nil {
		return nil, nil, err
	}
	mesh := ""
	documents := strings.Split(string(manifests), "---\n")
	errs := make([]error, len(documents))
	names := make([]string, len(documents))
	var group sync.WaitGroup
	for i, document := range documents {
		var o object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			return nil, nil, err
		}
		u := &unstructured.Unstructured{Object: o}
		resource, read := resources[u.GetKind()]
		switch {
		case u.GetKind() == "ConfigMap":
			mesh, _, _ = unstructured.NestedString(o, "data", "mesh")
		case u.GetKind() == "Namespace":
			if err := c.namespace(ctx, u.GetName()); err != nil {
				return nil, nil, err
			}
		case read:
			names[i] = fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
			// An object that names the revision goes through istiod's webhook also where none
			// is the default one. This istiod heeds it as it does one without.
			u.SetLabels(map[string]string{ours: "", "istio.io/rev": "default"})
			group.Go(func() { errs[i] = c.create(ctx, resource, u.GetNamespace(), o) })
		}
	}
	group.Wait()
	var taken []string
	for i, err := range errs {
		switch {
		case err == nil:
			taken = append(taken, documents[i])
		case kubeerrors.IsInvalid(err), kubeerrors.IsBadRequest(err), kubeerrors.IsForbidden(err):
			refused = append(refused, Refusal{names[i], err.Error()})
		default:
			return nil, nil, fmt.Errorf("%s: %w", names[i], err)
		}
	}
	return []byte(strings.Join(taken, "---\n")), refused, c.await(ctx, mesh)
}

// clear removes what the last World brought.
func (c *Control) clear(ctx context.Context) error {
	var errs []error
	for _, resource := range resources {
		found, err := c.objects.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: ours})
		if err != nil {
			return err
		}
		for _, o := range found.Items {
			errs = append(errs, c.objects.Resource(resource).Namespace(o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{}))
		}
	}
	return errors.Join(errs...)
}

// configure sets the mesh configuration.
func (c *Control) configure(ctx context.Context, mesh string) error {
	patch, err := json.Marshal(object{"data": object{"mesh": mesh}})
	if err != nil {
		return err
	}
	_, err = c.objects.Resource(configMaps).Namespace(root).Patch(ctx, "istio", types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// Inbound is the listener that istiod has for all that comes to a workload.
func (c *Control) Inbound(ctx context.Context, workload Workload, address string) (*listener.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.open(ctx, workload, address)
	if err != nil {
		return nil, err
	}
	listeners, err := s.receive()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(listeners, func(l *listener.Listener) bool { return l.Name == "virtualInbound" })
	if i < 0 {
		return nil, fmt.Errorf("istiod has no inbound listener for %s.%s", workload.Name, workload.Namespace)
	}
	return listeners[i], nil
}

func anything(labels map[string]string) object {
	out := object{}
	for k, v := range labels {
		out[k] = v
	}
	return out
}
