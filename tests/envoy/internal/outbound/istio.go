// Package outbound asks Istio's own code what proxies are configured to do with
// requests, and reads that as Envoy does. Nothing is decided about Istio here.
package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pilot/pkg/serviceregistry"
	kubecontroller "istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	"istio.io/istio/pilot/pkg/xds/endpoints"
	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/gvr"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/krt"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/util/sets"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/traffic"
)

// version is what proxies say that they are.
const version = "1.31.0"

// Config is what one proxy gets.
type Config struct {
	Listeners []*listener.Listener
	Routes    []*route.RouteConfiguration
	Clusters  []*cluster.Cluster
	// Healthy are the endpoints that the proxy may use, by cluster. What has
	// none of its own, because it goes where the caller wanted, is not here.
	Healthy map[string]int
}

// Check says why Istio's webhook would refuse an object.
func Check(manifest []byte) error {
	var object crd.IstioKind
	if err := yaml.Unmarshal(manifest, &object); err != nil {
		return err
	}
	_, err := convert(&object)
	return err
}

func convert(object *crd.IstioKind) (*config.Config, error) {
	gvk := object.GroupVersionKind()
	schema, known := collections.Pilot.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&gvk))
	if !known {
		return nil, fmt.Errorf("%s is no kind of Istio's", gvk)
	}
	out, err := crd.ConvertObject(schema, object, "cluster.local")
	if err != nil {
		return nil, err
	}
	_, err = schema.ValidateConfig(*out)
	return out, err
}

// read takes manifests apart: Kubernetes' objects, Istio's, and the mesh configuration.
func read(manifests []byte) (objects []runtime.Object, configs []config.Config, meshConfig *meshconfig.MeshConfig, err error) {
	meshConfig = mesh.DefaultMeshConfig()
	documents := kubeyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, configs, meshConfig, nil
		} else if err != nil {
			return nil, nil, nil, err
		}
		var object crd.IstioKind
		if err := yaml.Unmarshal(document, &object); err != nil {
			return nil, nil, nil, err
		}
		if gvk := object.GroupVersionKind(); gvk.Group == "networking.istio.io" {
			c, err := convert(&object)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%s %s/%s: %w", object.Kind, object.Namespace, object.Name, err)
			}
			configs = append(configs, *c)
			continue
		}
		decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(document, nil, nil)
		if err != nil {
			return nil, nil, nil, err
		}
		objects = append(objects, decoded)
		if object.Kind == "ConfigMap" && object.Name == "istio" {
			var data struct{ Data map[string]string }
			if err := yaml.Unmarshal(document, &data); err != nil {
				return nil, nil, nil, err
			}
			if meshConfig, err = mesh.ApplyMeshConfig(data.Data["mesh"], mesh.DefaultMeshConfig()); err != nil {
				return nil, nil, nil, err
			}
		}
	}
}

// Build gives each proxy of a World its configuration. Services, pods and
// endpoints are read by Istio's own registry, from a client without a server.
func Build(world *traffic.World) (out []*Config, err error) {
	objects, configs, meshConfig, err := read(world.Manifests)
	if err != nil {
		return nil, err
	}
	// It would keep what every World had.
	*krt.GlobalDebugHandler = krt.DebugHandler{}
	err = test.Wrap(func(t test.Failer) {
		index := model.NewEndpointIndex(model.DisabledCache{})
		updater := model.NewEndpointIndexUpdater(index)
		client := kube.NewFakeClient(objects...)
		registry, _ := kubecontroller.NewFakeControllerWithOptions(t, kubecontroller.FakeControllerOptions{
			Client: client, ClusterID: "Kubernetes", DomainSuffix: "cluster.local", XDSUpdater: updater, SkipRun: true,
			ConfigCluster: true, MeshWatcher: meshwatcher.NewTestWatcher(meshConfig),
			CRDs: []schema.GroupVersionResource{gvr.WorkloadEntry, gvr.ServiceEntry},
		})
		gen := core.NewConfigGenTest(t, core.TestOptions{
			Configs: configs, MeshConfig: meshConfig, XDSUpdater: updater, ClusterID: "Kubernetes",
			ServiceRegistries: []serviceregistry.Instance{registry}, SkipRun: true,
		})
		env := gen.Env()
		env.EndpointIndex = index
		// ServiceEntries select pods too.
		registry.AppendWorkloadHandler(gen.ServiceEntryRegistry.WorkloadInstanceHandler)
		gen.Run()
		if err := env.InitNetworksManager(updater); err != nil {
			t.Fatal(err)
		}
		env.PushContext().InitContext(env, nil, nil)
		for _, p := range world.Proxies {
			out = append(out, configure(gen, index, p))
		}
	})
	return out, err
}

func configure(gen *core.ConfigGenTest, index *model.EndpointIndex, p traffic.Proxy) *Config {
	proxy := &model.Proxy{
		Type: model.SidecarProxy, ID: p.Name + "." + p.Namespace, ConfigNamespace: p.Namespace, IPAddresses: []string{p.IP}, Labels: p.Labels,
		DNSDomain: p.Namespace + ".svc.cluster.local",
		Metadata:  &model.NodeMetadata{Namespace: p.Namespace, Labels: p.Labels, ClusterID: "Kubernetes", IstioVersion: version},
	}
	if p.Gateway {
		proxy.Type = model.Router
	}
	gen.SetupProxy(proxy)
	out := &Config{Listeners: gen.Listeners(proxy), Clusters: gen.Clusters(proxy), Healthy: map[string]int{}}
	// Listeners of a headless Service's pods share one; Envoy asks for a name once.
	names := sets.SortedList(sets.New(core.ExtractRoutesFromListeners(out.Listeners)...))
	resources, _ := gen.ConfigGen.BuildHTTPRoutes(proxy, &model.PushRequest{Push: gen.PushContext()}, names)
	for _, r := range resources {
		out.Routes = append(out.Routes, xdstest.SilentlyUnmarshalAny[route.RouteConfiguration](r.Resource))
	}
	for _, c := range out.Clusters {
		switch c.GetType() {
		case cluster.Cluster_ORIGINAL_DST:
		case cluster.Cluster_EDS:
			builder := endpoints.NewEndpointBuilder(c.Name, proxy, gen.PushContext())
			out.Healthy[c.Name] = healthy(builder.BuildClusterLoadAssignment(index))
		default:
			out.Healthy[c.Name] = healthy(c.LoadAssignment)
		}
	}
	return out
}

// healthy counts; Envoy takes those of which it was not told as healthy.
func healthy(assignment *endpoint.ClusterLoadAssignment) (n int) {
	for _, locality := range assignment.GetEndpoints() {
		for _, e := range locality.LbEndpoints {
			if e.HealthStatus == corev3.HealthStatus_HEALTHY || e.HealthStatus == corev3.HealthStatus_UNKNOWN {
				n++
			}
		}
	}
	return n
}
