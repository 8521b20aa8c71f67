package istiod

import (
	"context"
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

const listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"

// stream is the connection of a proxy that asks for listeners only.
type stream struct {
	grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
}

// open connects as the proxy of a workload, with what pilot-agent says of it.
func (c *Control) open(ctx context.Context, w Workload, address string) (stream, error) {
	metadata, err := structpb.NewStruct(object{
		"NAME": w.Name, "NAMESPACE": w.Namespace, "SERVICE_ACCOUNT": w.Name, "LABELS": anything(w.Labels),
		"INSTANCE_IPS": address, "CLUSTER_ID": "Kubernetes", "INTERCEPTION_MODE": "REDIRECT",
	})
	if err != nil {
		return stream{}, err
	}
	client, err := discoveryv3.NewAggregatedDiscoveryServiceClient(c.istiod).StreamAggregatedResources(ctx)
	if err != nil {
		return stream{}, err
	}
	id := fmt.Sprintf("sidecar~%s~%s.%s~%s.svc.cluster.local", address, w.Name, w.Namespace, w.Namespace)
	return stream{client}, client.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: listenerType, Node: &core.Node{Id: id, Cluster: w.Name + "." + w.Namespace, Metadata: metadata}})
}

// receive waits for listeners and accepts them.
func (s stream) receive() ([]*listener.Listener, error) {
	response, err := s.Recv()
	if err != nil {
		return nil, err
	}
	var out []*listener.Listener
	for _, resource := range response.Resources {
		l := &listener.Listener{}
		if err := resource.UnmarshalTo(l); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, s.Send(&discoveryv3.DiscoveryRequest{
		TypeUrl: listenerType, VersionInfo: response.VersionInfo, ResponseNonce: response.Nonce})
}
