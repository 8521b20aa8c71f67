package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/client"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istio"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/sidecar"
)

// updates shows what becomes of a proxy that has a good configuration and then
// gets one that it refuses, over gRPC as from istiod.
func updates() error {
	deny := func(rule string) string { return "{action: DENY, rules: [{" + rule + "}]}" }
	var specs []string
	for _, path := range []string{"/x/{*}", "x/{*}", "{*}", "{**}", "//{*}", "/x/{*}//", "/x//{*}", "/x/{**}/{*}", "/x/{*}y", "/x y/{*}", "/x|y/{*}", "/x%2fy/{*}", "/x/{*}?q"} {
		specs = append(specs, deny(fmt.Sprintf("to: [{operation: {paths: [%q]}}]", path)))
	}
	specs = append(specs, deny(`when: [{key: "request.headers[]", values: [a]}]`), deny(`when: [{key: "request.auth.claims[a][]", values: [a]}]`), deny(`when: [{key: "request.headers[a b]", values: [a]}]`))
	for _, spec := range specs {
		outcome, err := update(`rules: [{to: [{operation: {paths: ["/"]}}]}]`, spec)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", spec, outcome)
	}
	return nil
}

// ads hands out versions of the listeners on demand.
type ads struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	send    chan *discovery.DiscoveryResponse
	refused chan string
}

func (a *ads) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	go func() {
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			if request.ResponseNonce != "" {
				a.refused <- request.GetErrorDetail().GetMessage()
			}
		}
	}()
	for {
		select {
		case response := <-a.send:
			if err := stream.Send(response); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return nil
		}
	}
}

func update(good, bad string) (string, error) {
	dir, err := os.MkdirTemp("", "fields")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "ads.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return "", err
	}
	server := grpc.NewServer()
	source := &ads{send: make(chan *discovery.DiscoveryResponse, 1), refused: make(chan string, 1)}
	discovery.RegisterAggregatedDiscoveryServiceServer(server, source)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()

	bootstrap, err := json.Marshal(object{
		"node": object{"id": "test", "cluster": "test"},
		"dynamic_resources": object{
			"ads_config": object{"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": list{object{"envoy_grpc": object{"cluster_name": "ads"}}}},
			"lds_config": object{"ads": object{}, "resource_api_version": "V3"},
		},
		"static_resources": object{"clusters": list{object{"name": "ads", "type": "STATIC", "connect_timeout": "1s",
			"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{}}}},
			"load_assignment": object{"cluster_name": "ads", "endpoints": list{object{"lb_endpoints": list{object{"endpoint": object{"address": object{"pipe": object{"path": socket}}}}}}}}}}},
	})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "bootstrap.json"), bootstrap, 0o600); err != nil {
		return "", err
	}
	binary, err := proxy.Binary()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(binary, "-c", filepath.Join(dir, "bootstrap.json"), "--concurrency", "1", "--disable-hot-restart", "-l", "critical")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()

	outcome := ""
	for version, spec := range []string{good, bad} {
		config, err := istio.Build([]byte(mustYAML(policy(spec))), istio.Workload{Namespace: "app"}, []uint32{httpPort, tcpPort})
		if err != nil {
			return "", err
		}
		ls, err := sidecar.Listeners(dir, "l", address(0), httpPort, tcpPort, &istio.Config{HTTP: config.HTTP, Strict: map[uint32]bool{}}, sidecar.ServerTLS{})
		if err != nil {
			return "", err
		}
		if len(config.Invalid) > 0 {
			outcome += "the webhook refuses it; "
		}
		response := &discovery.DiscoveryResponse{VersionInfo: fmt.Sprint(version), Nonce: fmt.Sprint(version), TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener"}
		plaintext, err := onlyPlaintext(ls[0])
		if err != nil {
			return "", err
		}
		response.Resources = append(response.Resources, plaintext)
		source.send <- response
		select {
		case why := <-source.refused:
			if why == "" {
				outcome += fmt.Sprintf("version %d taken; ", version)
			} else {
				outcome += fmt.Sprintf("version %d refused (%.200s); ", version, why)
			}
		case err := <-ended:
			return outcome + fmt.Sprintf("version %d ENDS THE PROCESS (%v)", version, err), nil
		case <-time.After(20 * time.Second):
			return outcome + "no answer", nil
		}
	}
	answer, err := client.Do(client.Call{Target: fmt.Sprintf("%s:%d", address(0), httpPort), Bytes: get(), HTTP: true})
	if err != nil {
		return "", err
	}
	other, err := client.Do(client.Call{Target: fmt.Sprintf("%s:%d", address(0), httpPort), Bytes: "GET /x/y HTTP/1.1\r\nHost: h\r\n\r\n", HTTP: true})
	return outcome + fmt.Sprintf("then GET / gives %d, GET /x/y %d", answer.Status, other.Status), err
}

// onlyPlaintext drops the chain that needs certificates: it is of no use here.
func onlyPlaintext(text json.RawMessage) (*anypb.Any, error) {
	var fields object
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	fields["filter_chains"] = fields["filter_chains"].([]any)[1:]
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	var l listenerpb.Listener
	if err := protojson.Unmarshal(text, &l); err != nil {
		return nil, err
	}
	return anypb.New(&l)
}
