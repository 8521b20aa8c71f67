// Command listeners writes the inbound listeners that istiod generates for a
// workload with ports of every kind, in the form in which Envoy dumps them:
// all filters and filter chains that a sidecar has, not just those of policies.
//
//	listeners MANIFESTS > listeners.json
//
// MANIFESTS holds Istio's objects and a Service `target` in namespace `app`,
// whose pods have the labels that the Service selects.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/config/host"
	"istio.io/istio/pkg/config/kube"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
)

const address = "10.0.0.1"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: listeners MANIFESTS")
		os.Exit(2)
	}
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "listeners:", err)
		os.Exit(1)
	}
}

func write(path string) error {
	manifests, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var service corev1.Service
	var configs []string
	for _, document := range strings.Split(string(manifests), "\n---\n") {
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return err
		}
		switch {
		case kind.Kind == "Service":
			if err := yaml.Unmarshal([]byte(document), &service); err != nil {
				return err
			}
		case strings.Contains(kind.APIVersion, "istio.io/"):
			configs = append(configs, document)
		}
	}
	var dump []byte
	err = test.Wrap(func(t test.Failer) {
		dump = generate(t, &service, strings.Join(configs, "\n---\n"))
	})
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(dump, '\n'))
	return err
}

func generate(t test.Failer, from *corev1.Service, configs string) []byte {
	service := &model.Service{
		Hostname:       host.Name(from.Name + "." + from.Namespace + ".svc.cluster.local"),
		DefaultAddress: "10.96.0.1",
		Attributes:     model.ServiceAttributes{Name: from.Name, Namespace: from.Namespace},
	}
	var instances []*model.ServiceInstance
	for _, p := range from.Spec.Ports {
		port := &model.Port{Name: p.Name, Port: int(p.Port), Protocol: kube.ConvertProtocol(p.Port, p.Name, p.Protocol, p.AppProtocol)}
		service.Ports = append(service.Ports, port)
		instances = append(instances, &model.ServiceInstance{Service: service, ServicePort: port, Endpoint: &model.IstioEndpoint{
			Addresses: []string{address}, EndpointPort: uint32(p.TargetPort.IntValue()), ServicePortName: p.Name,
			Labels: from.Spec.Selector, Namespace: from.Namespace,
		}})
	}
	generator := core.NewConfigGenTest(t, core.TestOptions{
		ConfigString: configs, Services: []*model.Service{service}, Instances: instances,
	})
	proxy := generator.SetupProxy(&model.Proxy{
		ID: "target." + from.Namespace, ConfigNamespace: from.Namespace, IPAddresses: []string{address},
		Labels:    from.Spec.Selector,
		Metadata:  &model.NodeMetadata{Namespace: from.Namespace, Labels: from.Spec.Selector},
		DNSDomain: from.Namespace + ".svc." + constants.DefaultClusterLocalDomain,
	})
	dumped := []any{}
	for _, l := range generator.Listeners(proxy) {
		if l.Name != model.VirtualInboundListenerName {
			continue
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(proto.Message(l))
		if err != nil {
			t.Fatal(err)
		}
		dumped = append(dumped, map[string]any{"name": l.Name, "active_state": map[string]any{
			"version_info": "1", "listener": json.RawMessage(text),
		}})
	}
	// A filter chain on each line is as much as a person wants to read of it.
	text, err := json.Marshal(map[string]any{"configs": dumped})
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(text, []byte(`{"filter_chain_match"`), []byte("\n{\"filter_chain_match\""))
}
