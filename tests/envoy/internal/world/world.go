// Package world makes random meshes with one guarded workload, and requests to it.
package world

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/identity"
)

// The workload's ports, and its Service's, which differ on purpose: rules see
// the workload's.
const (
	HTTPPort        = 8080
	TCPPort         = 9090
	mutePort        = 7070 // of the Service, which does not say what is spoken
	strayPort       = 6060 // of no Service
	httpServicePort = 80
	stranger        = "stranger" // a workload that comes with TLS of its own
	tcpServicePort  = 9000
	Namespace       = "app"
	rootNamespace   = "istio-system"
)

// Ports are those of the workload, in a World of whole listeners.
func Ports() []uint32 { return []uint32{HTTPPort, TCPPort, mutePort, strayPort} }

// Labels are the workload's.
func Labels() map[string]string { return map[string]string{"app": "target", "version": "v1"} }

// World is a mesh and the calls to try in it.
type World struct {
	Name      string
	Manifests []byte
	Requests  []Request
	// DestinationIP says that a rule looks at the workload's address.
	DestinationIP bool
	// Audits are the policies that only log, NAMESPACE/NAME.
	Audits map[string]bool
}

// Request is a call as the client makes it.
type Request struct {
	From      string // principal; empty: plaintext
	Foreign   bool   // TLS without the mesh's certificate
	Port      int    // the workload's
	HTTP      bool   // what is spoken
	HTTP2     bool   // and in which version
	Method    string
	Path      string
	Host      string
	Headers   []Header
	Source    string
	Forwarded string // X-Forwarded-For; empty: not sent
	SNI       string
	Token     map[string]any // nil: not sent
}

// TLS says whether it is made over TLS, of whichever kind.
func (r Request) TLS() bool { return r.From != "" || r.Foreign }

// Header is a name with one line for each value.
type Header struct {
	Name   string
	Values []string
}

type object = map[string]any
type list = []any

// maker makes one World.
type maker struct {
	*rand.Rand
	world *World
	// seen are values of rules by field, so that requests can aim at them.
	seen    map[string][]string
	invalid bool // whether to put in what the webhook refuses
	httpful bool // whether HTTP-only fields are wanted
	whole   bool // whether listeners are whole
	podIP   string
	trust   []string // the mesh's trust domains
}

// Make makes World number index of a seed. The address is the workload's. With
// whole listeners, not only filters of an HTTP and a TCP port, there are ports of
// every protocol, in every mTLS mode.
func Make(seed uint64, index int, podIP string, requests int, whole bool) *World {
	m := &maker{
		Rand:  rand.New(rand.NewPCG(seed, uint64(index))),
		world: &World{Name: fmt.Sprintf("w%d", index), Audits: map[string]bool{}},
		seen:  map[string][]string{},
		whole: whole,
		podIP: podIP,
	}
	// Where the webhook is, it takes these objects out again.
	m.invalid = m.chance(m.ifWhole(10, 25))
	m.httpful = m.chance(70)
	m.manifests()
	for range requests {
		m.world.Requests = append(m.world.Requests, m.request())
	}
	return m.world
}

func (m *maker) chance(percent int) bool { return m.IntN(100) < percent }

func (m *maker) ifWhole(whole, filters int) int {
	if m.whole {
		return whole
	}
	return filters
}

func pick[T any](m *maker, from []T) T { return from[m.IntN(len(from))] }

func (m *maker) manifests() {
	objects := []object{namespace(Namespace), namespace(rootNamespace), namespace("foo")}
	objects = append(objects, m.mesh(), m.deployment(), m.service())
	if m.whole {
		objects = append(objects, strange()...)
	}
	if m.chance(m.ifWhole(70, 40)) {
		objects = append(objects, m.peerAuthentications()...)
	}
	if m.httpful && m.chance(80) || m.chance(20) {
		for i := range 1 + m.IntN(2) {
			objects = append(objects, m.requestAuthentication(i))
		}
	}
	for i := range 1 + m.IntN(6) {
		objects = append(objects, m.policy(i))
	}
	var out bytes.Buffer
	for i, o := range objects {
		if i > 0 {
			out.WriteString("---\n")
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			panic(err) // plain maps, lists and strings
		}
		out.Write(text)
	}
	m.world.Manifests = out.Bytes()
}

func namespace(name string) object {
	return object{"apiVersion": "v1", "kind": "Namespace",
		"metadata": object{"name": name, "labels": object{"istio-injection": "enabled"}}}
}

func (m *maker) mesh() object {
	config := object{}
	if m.chance(50) {
		config["trustDomain"] = pick(m, []string{"cluster.local", "td1", "td1.example"})
	}
	if m.chance(40) {
		config["trustDomainAliases"] = pick(m, []list{{"old-td"}, {"old-td", "cluster.local"}, {"td1"}, {"td1.example", "old-td"}})
	}
	if m.chance(60) {
		config["pathNormalization"] = object{"normalization": pick(m, []string{"DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"})}
	}
	m.trust = []string{"cluster.local"}
	if td, ok := config["trustDomain"].(string); ok {
		m.trust[0] = td
	}
	if aliases, ok := config["trustDomainAliases"].(list); ok {
		for _, alias := range aliases {
			m.trust = append(m.trust, alias.(string))
		}
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		panic(err)
	}
	return object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "istio", "namespace": rootNamespace},
		"data": object{"mesh": string(text)}}
}

func (m *maker) deployment() object {
	ports := list{object{"containerPort": HTTPPort}, object{"containerPort": TCPPort}}
	if m.whole {
		ports = append(ports, object{"containerPort": mutePort}, object{"containerPort": strayPort})
	}
	return object{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "target", "namespace": Namespace},
		"spec": object{"replicas": 1, "selector": object{"matchLabels": object{"app": "target"}},
			"template": object{"metadata": object{"labels": Labels()}, "spec": object{"serviceAccountName": "target", "containers": list{
				object{"name": "target", "image": "example/target", "ports": ports}}}}}}
}

// strange is a caller whose sidecar is told to use TLS like that of a web site.
func strange() []object {
	labels := object{"app": stranger}
	return []object{
		{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": stranger, "namespace": "foo"},
			"spec": object{"selector": object{"matchLabels": labels}, "template": object{"metadata": object{"labels": labels},
				"spec": object{"containers": list{object{"name": stranger, "image": "example/stranger"}}}}}},
		{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": object{"name": stranger, "namespace": "foo"},
			"spec": object{"host": "target." + Namespace + ".svc.cluster.local", "trafficPolicy": object{"tls": object{"mode": "SIMPLE"}}}},
	}
}

func (m *maker) service() object {
	ports := list{
		object{"name": "http-main", "port": httpServicePort, "targetPort": HTTPPort},
		object{"name": "tcp-main", "port": tcpServicePort, "targetPort": TCPPort}}
	if m.whole {
		// 3306 is a port that istiod knows.
		ports = append(ports, object{"name": "main", "port": pick(m, []int{7000, 7000, 7000, 3306}), "targetPort": mutePort})
		for i, port := range ports {
			if m.chance(35) {
				port.(object)["name"] = fmt.Sprintf("%s-%d", pick(m, portNames), i)
			}
			if m.chance(15) {
				port.(object)["appProtocol"] = pick(m, appProtocols)
			}
		}
	}
	return object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "target", "namespace": Namespace},
		"spec": object{"selector": object{"app": "target"}, "ports": ports}}
}

func (m *maker) peerAuthentications() (out []object) {
	modes, ported := []string{"PERMISSIVE", "STRICT", "UNSET"}, []int{HTTPPort, TCPPort, httpServicePort}
	if m.whole {
		modes, ported = append(modes, "PERMISSIVE", "DISABLE"), append(ported, HTTPPort, TCPPort, mutePort, strayPort)
	}
	add := func(name, ns string, spec object) {
		out = append(out, object{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
			"metadata": object{"name": name, "namespace": ns}, "spec": spec})
	}
	if m.chance(50) {
		add("default", rootNamespace, object{"mtls": object{"mode": pick(m, modes)}})
	}
	if m.chance(50) {
		add("default", Namespace, object{"mtls": object{"mode": pick(m, modes)}})
	}
	if m.chance(30) {
		spec := object{"selector": object{"matchLabels": object{"app": "target"}}, "mtls": object{"mode": pick(m, modes)}}
		if m.chance(50) {
			levels := object{}
			for range m.ifWhole(2, 1) {
				levels[fmt.Sprint(pick(m, ported))] = object{"mode": pick(m, modes)}
			}
			spec["portLevelMtls"] = levels
		}
		add("target", Namespace, spec)
	}
	return out
}

func (m *maker) requestAuthentication(i int) object {
	var rules list
	for range 1 + m.IntN(2) {
		issuer := pick(m, issuers)
		m.seen["issuer"] = append(m.seen["issuer"], issuer)
		rule := object{"issuer": issuer, "jwks": identity.JWKS()}
		if m.chance(15) {
			rule["audiences"] = list{pick(m, audiences[:3])}
		}
		if m.chance(10) {
			rule["spaceDelimitedClaims"] = list{"words"}
		}
		rules = append(rules, rule)
	}
	spec := object{"jwtRules": rules}
	if selector := m.selector(); selector != nil {
		spec["selector"] = selector
	}
	return object{"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
		"metadata": object{"name": fmt.Sprintf("jwt-%d", i), "namespace": pick(m, []string{Namespace, Namespace, rootNamespace})}, "spec": spec}
}

func (m *maker) selector() object {
	switch n := m.IntN(100); {
	case n < 65:
		return nil
	case n < 90:
		return object{"matchLabels": pick(m, []object{{"app": "target"}, {"version": "v1"}, {"app": "target", "version": "v1"}})}
	case n < 93:
		return object{"matchLabels": object{}}
	default:
		return object{"matchLabels": pick(m, []object{{"app": "other"}, {"app": "target", "version": "v2"}})}
	}
}

func (m *maker) policy(i int) object {
	metadata := object{"name": fmt.Sprintf("policy-%d", i+1), "namespace": pick(m, []string{Namespace, Namespace, Namespace, rootNamespace, rootNamespace, "foo"})}
	if m.chance(10) {
		metadata["annotations"] = object{"istio.io/dry-run": pick(m, []string{"true", "true", "1", "t", "TRUE", "false", "yes", "True", ""})}
	}
	spec := object{}
	switch n := m.IntN(100); {
	case n < 20:
		// ALLOW is the default.
	case n < 50:
		spec["action"] = "ALLOW"
	case n < 88:
		spec["action"] = "DENY"
	default:
		spec["action"] = "AUDIT"
		m.world.Audits[fmt.Sprintf("%s/%s", metadata["namespace"], metadata["name"])] = true
	}
	if selector := m.selector(); selector != nil {
		spec["selector"] = selector
	} else if m.chance(3) {
		spec["targetRefs"] = list{object{"group": "", "kind": "Service", "name": "target"}}
	}
	if rules := m.rules(); rules != nil {
		spec["rules"] = rules
	}
	return object{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}
}

func (m *maker) rules() list {
	count := 1 + m.IntN(3)
	switch n := m.IntN(100); {
	case n < 4:
		return nil
	case n < 7:
		return list{}
	case n < 9:
		count = 12 // rule[10] sorts before rule[2]
	}
	rules := list{}
	for range count {
		rules = append(rules, m.rule())
	}
	return rules
}

func (m *maker) rule() object {
	rule := object{}
	if m.chance(3) {
		return rule
	}
	if m.chance(60) {
		var from list
		for range 1 + m.IntN(2) {
			from = append(from, object{"source": m.fields(m.sourceFields())})
		}
		rule["from"] = from
	}
	if m.chance(60) {
		var to list
		for range 1 + m.IntN(2) {
			to = append(to, object{"operation": m.fields(m.operationFields())})
		}
		rule["to"] = to
	}
	if m.chance(40) {
		var when list
		for range 1 + m.IntN(2) {
			when = append(when, m.condition())
		}
		rule["when"] = when
	}
	return rule
}

// field is one of a source or an operation, with what makes its values.
type field struct {
	name  string
	value func() string
}

// from makes values of a field out of whole patterns and of literals put into shape.
func (m *maker) from(name string, patterns, literals []string) func() string {
	return func() string {
		var value string
		if len(literals) == 0 || len(patterns) > 0 && m.chance(60) {
			value = pick(m, patterns)
		} else {
			value = m.shape(pick(m, literals))
		}
		if value == "" && !m.invalid {
			value = "*"
		}
		m.seen[name] = append(m.seen[name], value)
		return value
	}
}

// shape makes a pattern that is near a literal.
func (m *maker) shape(literal string) string {
	cut := func() int { return m.IntN(len(literal) + 1) }
	switch m.IntN(12) {
	case 0, 1, 2, 3, 4:
		return literal
	case 5, 6:
		return literal[:cut()] + "*"
	case 7, 8:
		return "*" + literal[cut():]
	case 9:
		return "*" + literal[cut():] + "*"
	case 10:
		i := cut()
		return literal[:i] + "*" + literal[i:]
	default:
		return pick(m, []func(string) string{strings.ToUpper, func(s string) string { return s + "/" }, func(s string) string { return s + " " }, func(s string) string { return s + "x" }})(literal)
	}
}

func (m *maker) address(name string) func() string {
	return func() string {
		value := pick(m, blocks)
		if m.invalid && m.chance(15) {
			value = pick(m, badBlocks)
		}
		m.seen[name] = append(m.seen[name], value)
		return value
	}
}

func (m *maker) port() string {
	if m.invalid && m.chance(15) {
		return pick(m, badPorts)
	}
	if m.whole && m.chance(30) {
		return pick(m, wholePorts)
	}
	return pick(m, ports)
}

func (m *maker) sourceFields() []field {
	fields := []field{
		{"principals", m.from("principal", principalPatterns, principals)},
		{"principals", m.from("principal", principalPatterns, principals)},
		{"namespaces", m.from("namespace", namespaces, nil)},
		{"ipBlocks", m.address("source")},
		{"remoteIpBlocks", m.address("remote")},
	}
	if m.chance(30) {
		fields = append(fields, field{"trustDomains", func() string { return pick(m, trustDomains) }})
	}
	if m.chance(30) {
		// Validation wants them alone.
		fields = []field{{"serviceAccounts", func() string {
			value := pick(m, serviceAccounts)
			if !m.invalid && (strings.Contains(value, "*") || strings.Count(value, "/") > 1) {
				value = "foo/bar"
			}
			return value
		}}}
	}
	if m.httpful {
		fields = append(fields, field{"requestPrincipals", m.from("requestPrincipal", requestPrincipals, nil)})
	}
	return fields
}

func (m *maker) operationFields() []field {
	fields := []field{{"ports", m.port}}
	if m.httpful {
		fields = append(fields,
			field{"hosts", m.from("host", hostPatterns, hosts)},
			field{"methods", m.from("method", methodPatterns, nil)},
			field{"paths", m.path},
			field{"paths", m.path},
			field{"paths", m.path},
		)
	}
	return fields
}

// path leaves out templates with an operator inside a segment: Istio's webhook
// refuses them, Envoy reads them in a way of its own, and the plugin says unknown.
func (m *maker) path() string {
	for {
		value := m.from("path", pathPatterns, paths)()
		if template := strings.Contains(value, "{*}") || strings.Contains(value, "{**}"); template && !takenTemplate(value) {
			// Envoy 1.38.3 does not survive it; see MEASURED.md.
			m.seen["path"] = m.seen["path"][:len(m.seen["path"])-1]
			continue
		}
		return value
	}
}

// takenTemplate says whether Envoy accepts a template.
func takenTemplate(value string) bool {
	if !strings.HasPrefix(value, "/") || strings.Contains(value, "//") {
		return false
	}
	last := false
	for _, segment := range strings.Split(value[1:], "/") {
		operator := segment == "{*}" || segment == "{**}"
		if operator && last || !operator && strings.ContainsAny(segment, "*{}\"#<>?[\\]^`| ") {
			return false
		}
		last = last || segment == "{**}"
	}
	return true
}

// fields fills one or two fields, each or its negation.
func (m *maker) fields(from []field) object {
	out := object{}
	if m.invalid && m.chance(4) {
		return out
	}
	for range 1 + m.IntN(2) {
		f := pick(m, from)
		name := f.name
		if m.chance(25) {
			name = "not" + strings.ToUpper(name[:1]) + name[1:]
		}
		out[name] = m.values(f.value)
	}
	return out
}

func (m *maker) values(make func() string) list {
	var out list
	for range 1 + m.IntN(2) {
		out = append(out, make())
	}
	return out
}

func (m *maker) condition() object {
	key, value := m.key()
	if m.invalid && m.chance(12) {
		key = pick(m, unknownKeys)
	} else if m.invalid && m.chance(10) {
		key = pick(m, badKeys)
	}
	out := object{"key": key}
	positive := m.chance(75)
	if positive {
		out["values"] = m.values(value)
	}
	if !positive || m.chance(10) {
		out["notValues"] = m.values(value)
	}
	return out
}

func (m *maker) key() (string, func() string) {
	kinds := 6
	if m.httpful {
		kinds = 14
	}
	switch m.IntN(kinds) {
	case 0:
		return "source.ip", m.address("source")
	case 1:
		return "remote.ip", m.address("remote")
	case 2:
		return "source.namespace", m.from("namespace", namespaces, nil)
	case 3:
		return "source.principal", m.from("principal", principalPatterns, principals)
	case 4:
		switch m.IntN(4) {
		case 0:
			m.world.DestinationIP = true
			own := pick(m, []string{m.podIP, m.podIP + "/32", m.podIP + "/24", "127.0.0.0/8"})
			return "destination.ip", func() string { return pick(m, []string{own, pick(m, blocks)}) }
		case 1:
			return "source.serviceAccount", func() string { return pick(m, serviceAccounts[:8]) }
		case 2:
			return "source.trustDomain", func() string { return pick(m, trustDomains) }
		}
		return "destination.port", m.port
	case 5:
		return "connection.sni", m.from("sni", sniPatterns, nil)
	case 6, 7, 8:
		name := pick(m, headerNames)
		if m.chance(15) {
			switch name = pick(m, []string{":method", ":path", ":authority", "host", "Host"}); name {
			case ":method":
				return "request.headers[:method]", m.from("method", methodPatterns, nil)
			case ":path":
				return "request.headers[:path]", m.from("path", []string{"/api/v1?q=1", "/api*", "*", "*q=1", "/private", "/api/v1*"}, nil)
			default:
				return "request.headers[" + name + "]", m.from("host", hostPatterns, hosts)
			}
		}
		return "request.headers[" + name + "]", m.from("header", headerPatterns, nil)
	case 9:
		return "request.auth.principal", m.from("requestPrincipal", requestPrincipals, nil)
	case 10:
		return "request.auth.audiences", m.from("audience", nil, audiences)
	case 11:
		return "request.auth.presenter", m.from("presenter", nil, presenters)
	default:
		return "request.auth.claims" + pick(m, claimKeys), m.from("claim", claimValues, nil)
	}
}

// aim takes something that a value of the field in some rule is likely to
// match, or something from the pool.
func (m *maker) aim(field string, pool []string) string {
	if seen := m.seen[field]; len(seen) > 0 && m.chance(50) {
		value := pick(m, seen)
		value = strings.ReplaceAll(value, "{**}", pick(m, []string{"", "x", "x/y"}))
		value = strings.ReplaceAll(value, "{*}", pick(m, []string{"x", "b", "x/y", ""}))
		if strings.HasPrefix(value, "*") {
			value = pick(m, []string{"", "x", "foo/", "/x"}) + value[1:]
		} else if strings.HasSuffix(value, "*") && m.chance(80) {
			value = value[:len(value)-1] + pick(m, []string{"", "x", "/x", "1"})
		}
		return value
	}
	return pick(m, pool)
}

func (m *maker) request() Request {
	r := Request{Port: TCPPort, HTTP: m.chance(75), Source: pick(m, sources)}
	if m.whole {
		r.Port = int(pick(m, Ports()))
	} else if r.HTTP {
		r.Port = HTTPPort
	}
	// Its sidecar knows only the ports of the Service.
	r.Foreign = m.whole && r.Port != strayPort && m.chance(8)
	if !r.Foreign && m.chance(80) {
		r.From = m.aim("principal", principals)
		if !usable(r.From) || m.chance(50) {
			r.From = pick(m, principals)
		}
		if m.chance(93) {
			// Others do not survive the handshake.
			_, rest, _ := strings.Cut(r.From, "/")
			r.From = pick(m, m.trust) + "/" + rest
		}
	}
	if r.TLS() {
		r.SNI = m.aim("sni", snis)
		if strings.ContainsAny(r.SNI, "* ") {
			r.SNI = pick(m, snis)
		}
		// The TLS client leaves out what stands for the root.
		r.SNI = strings.TrimRight(r.SNI, ".")
	}
	if !r.HTTP {
		return r
	}
	r.HTTP2 = m.whole && m.chance(30)
	r.Method = pick(m, methods)
	if m.chance(50) {
		r.Method = "GET"
	}
	r.Path = m.aim("path", paths)
	if !strings.HasPrefix(r.Path, "/") {
		r.Path = "/" + r.Path
	}
	if strings.ContainsAny(r.Path, " \t") {
		r.Path = pick(m, paths)
	}
	r.Host = m.aim("host", hosts)
	if strings.ContainsAny(r.Host, "* /") || r.Host == "" {
		r.Host = pick(m, hosts)
	}
	for _, name := range headerNames[:2] {
		if m.chance(35) {
			h := Header{Name: pick(m, []string{name, strings.ToUpper(name)})}
			for range pick(m, []int{1, 1, 1, 2, 3}) {
				h.Values = append(h.Values, strings.TrimSpace(m.aim("header", headerValues)))
			}
			r.Headers = append(r.Headers, h)
		}
	}
	if m.chance(30) {
		r.Forwarded = pick(m, forwarded)
	}
	if m.chance(50) {
		r.Token = m.token()
	}
	return r
}

// usable says whether a text can stand in a certificate and in `from`.
func usable(principal string) bool {
	td, rest, ok := strings.Cut(principal, "/")
	return ok && td != "" && rest != "" && !strings.ContainsAny(principal, "*? :[]|") && !strings.HasSuffix(principal, "/") && !strings.Contains(principal, "//")
}

func (m *maker) token() map[string]any {
	token := map[string]any{"iss": m.aim("issuer", issuers)}
	if len(m.seen["issuer"]) > 0 && m.chance(80) {
		token["iss"] = pick(m, m.seen["issuer"])
	}
	if m.chance(85) {
		token["sub"] = pick(m, subjects)
	}
	switch m.IntN(4) {
	case 0:
		token["aud"] = pick(m, audiences)
	case 1, 2:
		token["aud"] = pick(m, []list{{"aud-1"}, {"aud-1", "aud-2"}, {"aud", "https://aud.example"}, {}})
	}
	if m.chance(40) {
		token["azp"] = pick(m, presenters)
	}
	for k, v := range pick(m, tokenClaims) {
		token[k] = v
	}
	return token
}
