// Package istio turns manifests into proxy configuration with Istio's own code:
// its policy listing, its selection, its builders. Nothing is decided here.
package istio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/config/memory"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking"
	authnplugin "istio.io/istio/pilot/pkg/networking/plugin/authn"
	authzplugin "istio.io/istio/pilot/pkg/networking/plugin/authz"
	"istio.io/istio/pilot/pkg/security/authn"
	memoryregistry "istio.io/istio/pilot/pkg/serviceregistry/memory"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/mesh/meshwatcher"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/kube/krt"
)

// Workload is what the proxy stands before.
type Workload struct {
	Namespace string
	Labels    map[string]string
}

// Config is what Istio gives the workload's proxy for its inbound side.
type Config struct {
	// HTTP and TCP are the filters, in Istio's order, as Envoy's JSON.
	HTTP, TCP []any
	// Strict holds, by port, whether plaintext finds no filter chain.
	Strict map[uint32]bool
	// TrustDomains are the ones that the handshake accepts.
	TrustDomains []string
	// Normalization is the mesh's path normalization.
	Normalization meshconfig.MeshConfig_ProxyPathNormalization_NormalizationType
	// Invalid says why the validating webhook would have refused an object.
	Invalid []string
}

// noVirtualServices is what a push context needs beside policies; one serves all.
var noVirtualServices = sync.OnceValue(func() *model.VirtualServiceController {
	return model.NewVirtualServiceController(
		memory.NewController(memory.MakeSkipValidation(collections.Pilot)),
		model.VSControllerOptions{KrtDebugger: krt.GlobalDebugHandler},
		meshwatcher.NewTestWatcher(mesh.DefaultMeshConfig()))
})

// Build reads manifests (the mesh configuration is in ConfigMap `istio`) and
// asks Istio for the filters of the workload.
func Build(manifests []byte, workload Workload, ports []uint32) (*Config, error) {
	store := memory.MakeSkipValidation(collections.Pilot)
	out := &Config{Strict: map[uint32]bool{}}
	decoder := kubeyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		var object crd.IstioKind
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		gvk := object.GroupVersionKind()
		schema, known := collections.Pilot.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&gvk))
		if !known {
			continue
		}
		config, err := crd.ConvertObject(schema, &object, "cluster.local")
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.Kind, object.Name, err)
		}
		if _, err := schema.ValidateConfig(*config); err != nil {
			out.Invalid = append(out.Invalid, fmt.Sprintf("%s %s/%s: %v", object.Kind, object.Namespace, object.Name, err))
		}
		if _, err := store.Create(*config); err != nil {
			return nil, fmt.Errorf("%s %s: %w", object.Kind, object.Name, err)
		}
	}
	meshYAML, err := meshOf(manifests)
	if err != nil {
		return nil, err
	}
	meshConfig, err := mesh.ApplyMeshConfig(meshYAML, mesh.DefaultMeshConfig())
	if err != nil {
		return nil, err
	}

	env := model.NewEnvironment()
	env.ConfigStore = store
	env.ServiceDiscovery = memoryregistry.NewServiceDiscovery()
	env.Watcher = meshwatcher.NewTestWatcher(meshConfig)
	env.VirtualServiceController = noVirtualServices()
	env.Init()
	push := model.NewPushContext()
	push.InitContext(env, nil, nil)
	proxy := &model.Proxy{
		Type:            model.SidecarProxy,
		ID:              "target." + workload.Namespace,
		ConfigNamespace: workload.Namespace,
		Labels:          workload.Labels,
		Metadata:        &model.NodeMetadata{Namespace: workload.Namespace, Labels: workload.Labels},
	}

	// The order of listener_builder.go: CUSTOM authorization, authentication, then all other authorization.
	var http, tcp []proto.Message
	custom := authzplugin.NewBuilder(authzplugin.Custom, push, proxy, false)
	for _, f := range custom.BuildHTTP(networking.ListenerClassSidecarInbound) {
		http = append(http, f)
	}
	for _, f := range custom.BuildTCP() {
		tcp = append(tcp, f)
	}
	for _, f := range authnplugin.NewBuilder(push, proxy).BuildHTTP(networking.ListenerClassSidecarInbound) {
		http = append(http, f)
	}
	authz := authzplugin.NewBuilder(authzplugin.Local, push, proxy, false)
	for _, f := range authz.BuildHTTP(networking.ListenerClassSidecarInbound) {
		http = append(http, f)
	}
	for _, f := range authz.BuildTCP() {
		tcp = append(tcp, f)
	}
	if out.HTTP, err = asJSON(http); err != nil {
		return nil, err
	}
	if out.TCP, err = asJSON(tcp); err != nil {
		return nil, err
	}
	applier := authn.NewPolicyApplier(push, proxy, nil)
	for _, port := range ports {
		switch mode := applier.GetMutualTLSModeForPort(port); mode {
		case model.MTLSStrict, model.MTLSPermissive:
			out.Strict[port] = mode == model.MTLSStrict
		default:
			return nil, fmt.Errorf("mTLS mode %s of port %d is not generated here", mode, port)
		}
	}
	out.TrustDomains = authnplugin.TrustDomainsForValidation(meshConfig)
	out.Normalization = meshConfig.GetPathNormalization().GetNormalization()
	return out, nil
}

// meshOf finds the mesh configuration among the manifests.
func meshOf(manifests []byte) (string, error) {
	decoder := kubeyaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifests), 4096)
	for {
		var object struct {
			Kind     string
			Metadata struct{ Name string }
			Data     map[string]string
		}
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return "", nil
		} else if err != nil {
			return "", err
		}
		if object.Kind == "ConfigMap" && object.Metadata.Name == "istio" {
			return object.Data["mesh"], nil
		}
	}
}

func asJSON(messages []proto.Message) ([]any, error) {
	out := make([]any, 0, len(messages))
	for _, m := range messages {
		text, err := protojson.Marshal(m)
		if err != nil {
			return nil, err
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}
