// Package traffic makes random meshes in which VirtualServices, DestinationRules,
// Sidecars and Gateways meet, and requests to try in them.
//
// Names are few on purpose: objects must shadow, merge and miss each other often.
package traffic

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// rootNamespace is Istio's own; what is there is for all.
const rootNamespace = "istio-system"

// World is a mesh, the proxies to look at, and what each is asked.
type World struct {
	Name      string
	Manifests []byte
	Proxies   []Proxy
}

// Proxy is a pod with a proxy.
type Proxy struct {
	Name, Namespace, IP string
	Labels              map[string]string
	// Gateway says that it is an ingress gateway, not a sidecar.
	Gateway  bool
	Requests []Request
}

// Request is a call from the application beside the proxy, or, for a gateway,
// from outside to it.
type Request struct {
	Protocol string            `json:"protocol"` // http, tls or tcp: what is spoken
	Host     string            `json:"host"`     // as the caller names it; the Host header or SNI
	Port     int               `json:"port"`     // for a gateway: its Service's
	Address  string            `json:"address"`  // where the caller connects to
	By       string            `json:"addressOf"`
	Listens  int               `json:"targetPort,omitempty"` // of a gateway: where it gets the request
	Method   string            `json:"method,omitempty"`
	Path     string            `json:"path,omitempty"` // with the query
	Headers  map[string]string `json:"headers,omitempty"`
	SNI      string            `json:"sni,omitempty"`
}

// At is the port that it reaches the proxy at.
func (r Request) At() int { return cmp.Or(r.Listens, r.Port) }

// Check says why Istio refuses an object.
type Check func(manifest []byte) error

type object = map[string]any
type list = []any

// service is what requests and routes need to know of a Service or ServiceEntry.
type service struct {
	name, namespace string
	hosts           []string // a ServiceEntry's
	address         string   // empty: DNS says something else
	alias           string   // the host that an ExternalName leads to
	headless        bool
	ports           []port
	external        bool
}

func (s service) host() string {
	if s.external {
		return s.hosts[0]
	}
	return s.name + "." + s.namespace + ".svc.cluster.local"
}

type port struct {
	number, target int
	name, protocol string
}

type pod struct {
	name, namespace, ip string
	labels              map[string]string
	ready               bool
	gateway             bool
}

// maker makes one World.
type maker struct {
	*rand.Rand
	check      Check
	namespaces []string
	services   []service
	pods       []pod
	objects    []object
	gateway    pod
	gateways   []string // NAMESPACE/NAME
	shift      int      // from a gateway's Service's ports to its pods'
	// seen are the values of matches by kind, so that requests can aim at them.
	seen      map[string][]string
	virtual   []string            // hosts of VirtualServices
	bound     []string            // those of which are at a Gateway
	served    map[string][]string // hosts by Gateway, NAMESPACE/NAME
	delegates []string            // NAMESPACE/NAME
	count     int
}

// Make makes World number index of a seed, of objects that pass the check.
func Make(seed uint64, index, requests int, check Check) (*World, error) {
	m := &maker{
		Rand:       rand.New(rand.NewPCG(seed, uint64(index))),
		check:      check,
		namespaces: []string{"shop", "pay", "web"},
		seen:       map[string][]string{},
		served:     map[string][]string{},
	}
	if m.chance(40) {
		m.namespaces = append(m.namespaces, "edge")
	}
	m.manifests()
	world := &World{Name: fmt.Sprintf("w%04d", index+1)}
	var out bytes.Buffer
	for i, o := range m.objects {
		if i > 0 {
			out.WriteString("---\n")
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		out.Write(text)
	}
	world.Manifests = out.Bytes()
	for _, p := range m.callers() {
		proxy := Proxy{Name: p.name, Namespace: p.namespace, IP: p.ip, Labels: p.labels, Gateway: p.gateway}
		for range requests {
			proxy.Requests = append(proxy.Requests, m.request(p))
		}
		world.Proxies = append(world.Proxies, proxy)
	}
	return world, nil
}

func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func pick[T any](m *maker, from []T) T { return from[m.IntN(len(from))] }

// some picks up to n different ones, in their order.
func some[T any](m *maker, from []T, n int) []T {
	var out []T
	for i, left := range m.Perm(len(from)) {
		if i < n {
			out = append(out, from[left])
		}
	}
	return out
}

func (m *maker) manifests() {
	for _, n := range append(slices.Clone(m.namespaces), rootNamespace) {
		meta := object{"name": n, "labels": object{"kubernetes.io/metadata.name": n}}
		if n != rootNamespace {
			meta["labels"].(object)["istio-injection"] = "enabled"
		}
		m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
	}
	m.mesh()
	m.makeServices()
	m.makeGateways()
	for range m.IntN(3) {
		m.add(m.serviceEntry)
	}
	for range m.IntN(4) {
		m.add(m.delegate)
	}
	for range pick(m, []int{0, 3, 4, 5, 6, 7, 8}) {
		m.add(m.virtualService)
	}
	for range 1 + m.IntN(7) {
		m.add(m.destinationRule)
	}
	if m.chance(40) {
		for range 1 + m.IntN(3) {
			m.add(m.sidecar)
		}
	}
}

// add tries until Istio takes it, and gives up after a while.
func (m *maker) add(make func() (object, func())) {
	for range 6 {
		o, then := make()
		text, err := yaml.Marshal(o)
		if err != nil {
			panic(err) // of maps, lists and text
		}
		if m.check(text) == nil {
			m.objects = append(m.objects, o)
			if then != nil {
				then()
			}
			return
		}
	}
}

// istio is an object of Istio's networking group. Times tie now and then.
func (m *maker) istio(kind, namespace, name string, spec object) object {
	m.count++
	return object{"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": object{
		"name": fmt.Sprintf("%s%d", name, m.count), "namespace": namespace, "creationTimestamp": m.created(),
	}, "spec": spec}
}

func (m *maker) created() string {
	return time.Date(2026, 1, 1, 0, m.IntN(8), 0, 0, time.UTC).Format(time.RFC3339)
}

func (m *maker) mesh() {
	config := object{}
	if m.chance(25) {
		config["outboundTrafficPolicy"] = object{"mode": "REGISTRY_ONLY"}
	}
	for _, key := range []string{"defaultVirtualServiceExportTo", "defaultDestinationRuleExportTo", "defaultServiceExportTo"} {
		if m.chance(10) {
			config[key] = list{pick(m, []string{".", ".", "*"})}
		}
	}
	if m.chance(12) {
		config["defaultHttpRetryPolicy"] = object{"attempts": pick(m, []int{0, 1, 3}), "retryOn": "gateway-error"}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		panic(err)
	}
	m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": object{"name": "istio", "namespace": rootNamespace}, "data": object{"mesh": string(text)}})
}

// exports sets exportTo, in which the namespace itself and others may be.
func (m *maker) exports(spec object) {
	if m.chance(55) {
		return
	}
	switch m.IntN(4) {
	case 0:
		spec["exportTo"] = list{"."}
	case 1:
		spec["exportTo"] = list{"*"}
	case 2:
		spec["exportTo"] = list{pick(m, m.everywhere())}
	default:
		to := list{}
		for _, n := range some(m, append([]string{"."}, m.everywhere()...), 2) {
			to = append(to, n)
		}
		spec["exportTo"] = to
	}
}

func (m *maker) everywhere() []string { return append(slices.Clone(m.namespaces), rootNamespace) }
