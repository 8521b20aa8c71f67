package main

import (
	"context"
	"encoding/json"
	"fmt"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istio"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istiod"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/sidecar"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/world"
)

// source is where the configuration of a World's proxy comes from.
type source interface {
	// whole says whether its listeners are whole.
	whole() bool
	configure(dir string, w *world.World, address string) (configuration, error)
	// application starts what stands behind the proxies, and returns its clusters and how to end it.
	application(dir string) ([]json.RawMessage, func(), error)
	// dump puts what Envoy dumps of a World's listeners into the form that it has in a pod.
	dump(listeners []byte) ([]byte, error)
	close() error
}

// configuration is what a World's proxy has.
type configuration struct {
	// manifests are what it comes from.
	manifests []byte
	notes     []string
	listeners []json.RawMessage
	// plain are the ports that take no mutual TLS.
	plain map[int]bool
}

// builders are Istio's own, in this process: they make the filters of policies,
// for one HTTP port and one TCP port.
type builders struct{ server sidecar.ServerTLS }

func (builders) whole() bool { return false }

func (b builders) configure(dir string, w *world.World, address string) (configuration, error) {
	config, err := istio.Build(w.Manifests, istio.Workload{Namespace: world.Namespace, Labels: world.Labels()},
		[]uint32{world.HTTPPort, world.TCPPort})
	if err != nil {
		return configuration{}, err
	}
	out := configuration{manifests: w.Manifests}
	for _, why := range config.Invalid {
		out.notes = append(out.notes, "refused by Istio's webhook: "+why)
	}
	out.listeners, err = sidecar.Listeners(dir, w.Name, address, world.HTTPPort, world.TCPPort, config, b.server)
	return out, err
}

// Envoy answers by itself there.
func (builders) application(string) ([]json.RawMessage, func(), error) { return nil, func() {}, nil }

func (builders) dump(listeners []byte) ([]byte, error) { return listeners, nil }

func (builders) close() error { return nil }

// running is an istiod in a cluster, which makes the whole listener.
type running struct {
	server   sidecar.ServerTLS
	workload istiod.Workload
	control  *istiod.Control
	// refused counts the objects that the webhook did not take.
	refused int
}

func connect(server sidecar.ServerTLS) (source, error) {
	workload := istiod.Workload{Name: "target", Namespace: world.Namespace, Labels: world.Labels()}
	control, err := istiod.Connect(context.Background(), workload)
	return &running{server: server, workload: workload, control: control}, err
}

func (*running) whole() bool { return true }

func (r *running) configure(dir string, w *world.World, address string) (out configuration, err error) {
	accepted, refused, err := r.control.Apply(context.Background(), w.Manifests)
	if err != nil {
		return out, err
	}
	out.manifests = accepted
	for _, refusal := range refused {
		out.notes = append(out.notes, fmt.Sprintf("%s was refused, and is not here: %s", refusal.Object, refusal.Reason))
	}
	r.refused += len(refused)
	inbound, err := r.control.Inbound(context.Background(), r.workload, address)
	if err != nil {
		return out, err
	}
	out.plain = map[int]bool{}
	for _, port := range world.Ports() {
		out.plain[int(port)] = !mutual(inbound, port)
	}
	if err := r.server.Secrets(dir); err != nil {
		return out, err
	}
	text, err := sidecar.Whole(dir, w.Name+"-inbound", address, world.Ports(), inbound)
	out.listeners = []json.RawMessage{text}
	return out, err
}

// mutual says whether a port takes mutual TLS. A port without chains of its own
// has those that name no port.
func mutual(inbound *listener.Listener, port uint32) bool {
	const none = 0
	takes := map[uint32]bool{}
	for _, chain := range inbound.FilterChains {
		of := chain.FilterChainMatch.GetDestinationPort().GetValue()
		takes[of] = takes[of] || chain.TransportSocket != nil
	}
	if own, found := takes[port]; found {
		return own
	}
	return takes[none]
}

func (r *running) application(dir string) ([]json.RawMessage, func(), error) {
	l, cluster, err := r.server.Application(dir)
	if err != nil {
		return nil, nil, err
	}
	return []json.RawMessage{cluster}, func() { l.Close() }, nil
}

func (*running) dump(listeners []byte) ([]byte, error) { return sidecar.InPod(listeners) }

func (r *running) close() error {
	fmt.Printf("left out: %d objects, because the API server or istiod's webhook refused them\n", r.refused)
	return r.control.Close(context.Background())
}
