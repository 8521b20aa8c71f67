package traffic

import (
	"fmt"
	"slices"
	"strings"
)

// hostFor is a host as an object in the namespace may name it: rightly, almost
// rightly, and not at all. It mostly has a port of the protocol.
func (m *maker) hostFor(namespace, protocol string) string {
	s := pick(m, m.services)
	for range 8 {
		if slices.ContainsFunc(s.ports, func(p port) bool { return p.protocol == protocol || p.protocol == "" && protocol != "tls" }) {
			break
		}
		s = pick(m, m.services)
	}
	if s.external {
		return pick(m, s.hosts)
	}
	switch n := m.IntN(20); {
	case n < 4:
		return s.name
	case n < 15:
		return s.host()
	case n == 15:
		return s.name + "." + s.namespace
	case n == 16:
		return s.name + "." + namespace + ".svc.cluster.local"
	case n == 17:
		return "unknown.example.com"
	default:
		return "*." + s.namespace + ".svc.cluster.local"
	}
}

func (m *maker) virtualService() (object, func()) {
	namespace := pick(m, m.everywhere())
	spec := object{}
	var hosts []string
	bound := len(m.gateways) > 0 && m.chance(40)
	gateway, offered := "", []string{"shop.example.com", "www.example.com", "*"}
	if bound {
		gateway = pick(m, m.gateways)
		for _, h := range m.served[gateway] {
			from, name, found := strings.Cut(h, "/")
			if !found {
				name = from
			} else if from == "." {
				namespace, _, _ = strings.Cut(gateway, "/")
			} else if from != "*" && m.chance(70) {
				namespace = from
			}
			offered = append(offered, name, name, strings.Replace(name, "*.", "shop.", 1))
		}
	}
	kind := m.IntN(20)
	protocol := "http"
	if kind < 3 {
		protocol = "tcp"
	} else if kind < 5 || bound && m.chance(8) {
		protocol = "tls"
	}
	for range 1 + m.IntN(8)/5 {
		h := m.hostFor(namespace, protocol)
		if m.chance(6) {
			h = pick(m, []string{"*.svc.cluster.local", "*.local", "*.com", "*.example.com"})
		}
		if bound && m.chance(85) {
			h = pick(m, offered)
		}
		hosts = append(hosts, h)
	}
	spec["hosts"] = hosts
	if bound {
		if ns, name, _ := strings.Cut(gateway, "/"); ns == namespace && m.chance(50) {
			gateway = name
		}
		if m.chance(35) {
			spec["gateways"] = list{gateway, "mesh"}
		} else {
			spec["gateways"] = list{gateway}
		}
	} else if m.chance(25) {
		spec["gateways"] = list{"mesh"}
	}
	m.exports(spec)
	if protocol == "http" {
		spec["http"] = m.httpRoutes(namespace, gateway, false)
	}
	if protocol == "tcp" || kind == 19 {
		spec["tcp"] = m.tcpRoutes(namespace, gateway)
	}
	if protocol == "tls" || kind == 18 {
		spec["tls"] = m.tlsRoutes(namespace, hosts)
	}
	return m.istio("VirtualService", namespace, "vs", spec), func() {
		m.virtual = append(m.virtual, hosts...)
		if gateway != "" {
			m.bound = append(m.bound, hosts...)
		}
	}
}

// delegate is a VirtualService that only others lead to.
func (m *maker) delegate() (object, func()) {
	namespace := pick(m, m.everywhere())
	spec := object{"http": m.httpRoutes(namespace, "", true)}
	m.exports(spec)
	o := m.istio("VirtualService", namespace, "delegate", spec)
	name := o["metadata"].(object)["name"].(string)
	return o, func() { m.delegates = append(m.delegates, namespace+"/"+name) }
}

func (m *maker) httpRoutes(namespace, gateway string, delegate bool) list {
	var out list
	n := 1 + m.IntN(4)
	for i := range n {
		r := object{}
		if m.chance(70) {
			r["name"] = fmt.Sprintf("route-%d", i)
		}
		last := i == n-1
		if !m.chance(map[bool]int{true: 65, false: 12}[last]) {
			var matches list
			for range 1 + m.IntN(6)/3 {
				matches = append(matches, m.match(namespace, gateway))
			}
			r["match"] = matches
		}
		m.action(r, namespace, delegate)
		out = append(out, r)
	}
	return out
}

func (m *maker) action(r object, namespace string, delegate bool) {
	if len(m.delegates) > 0 && !delegate && m.chance(30) {
		ns, name, _ := strings.Cut(pick(m, m.delegates), "/")
		d := object{"name": name}
		if ns != namespace || m.chance(50) {
			d["namespace"] = ns
		}
		if m.chance(8) {
			d["name"] = "nowhere"
		}
		r["delegate"] = d
	} else {
		switch {
		case m.chance(9):
			r["redirect"] = pick(m, []object{{"uri": "/new"}, {"authority": "new.example.com", "redirectCode": 302}, {"scheme": "https", "port": 8443}, {"derivePort": "FROM_REQUEST_PORT", "uri": "/x"}})
			return
		case m.chance(11):
			r["directResponse"] = pick(m, []object{{"status": 200, "body": object{"string": "hello"}}, {"status": 418}})
			return
		}
		r["route"] = m.destinations(namespace)
	}
	if m.chance(15) {
		r["timeout"] = pick(m, []string{"0s", "0.5s", "3s", "1m30s"})
	}
	if m.chance(18) {
		r["retries"] = pick(m, []object{{"attempts": 0}, {"attempts": 3}, {"attempts": 2, "perTryTimeout": "2s", "retryOn": "5xx,reset"}, {"attempts": 1, "retryOn": "503,connect-failure"},
			{"attempts": 5, "perTryTimeout": "0.25s"}})
	}
	if m.chance(18) {
		r["fault"] = pick(m, []object{
			{"delay": object{"fixedDelay": "2s", "percentage": object{"value": 10}}},
			{"delay": object{"fixedDelay": "0.1s"}},
			{"abort": object{"httpStatus": 503, "percentage": object{"value": 0.1}}},
			{"abort": object{"httpStatus": 400}},
			{"abort": object{"grpcStatus": "UNAVAILABLE", "percentage": object{"value": 100}}, "delay": object{"fixedDelay": "5s", "percentage": object{"value": 50}}},
		})
	}
	if m.chance(12) {
		r["rewrite"] = pick(m, []object{{"uri": "/v2"}, {"authority": "inner.example.com"}, {"uri": "/", "authority": "payment"}, {"uriRegexRewrite": object{"match": "/a(.*)", "rewrite": "/b\\1"}}})
	}
	if m.chance(5) {
		r["headers"] = object{"request": object{pick(m, []string{"set", "add"}): object{pick(m, []string{"Host", ":authority", "x-more"}): "inner.example.com"}}}
	}
	if m.chance(10) {
		r["mirror"] = m.destination(namespace)
		if m.chance(50) {
			r["mirrorPercentage"] = object{"value": pick(m, []float64{0, 10, 0.5, 100})}
		}
	} else if m.chance(6) {
		r["mirrors"] = list{object{"destination": m.destination(namespace)}, object{"destination": m.destination(namespace), "percentage": object{"value": 25}}}
	}
}

func (m *maker) destinations(namespace string) list {
	if m.chance(55) {
		d := object{"destination": m.destination(namespace)}
		if m.chance(10) {
			d["weight"] = pick(m, []int{0, 50, 100})
		}
		return list{d}
	}
	var out list
	d := m.destination(namespace)
	for i := range 2 + m.IntN(2) {
		if i == 0 || m.chance(30) {
			d = m.destination(namespace)
		} else {
			// A canary: the same host in another version.
			same := object{"host": d["host"], "subset": pick(m, []string{"v1", "v2", "v3"})}
			if p, ok := d["port"]; ok {
				same["port"] = p
			}
			d = same
		}
		out = append(out, object{"destination": d, "weight": pick(m, []int{0, 1, 5, 10, 50, 90, 95})})
	}
	return out
}

func (m *maker) destination(namespace string) object {
	s := pick(m, m.services)
	d := object{"host": s.host()}
	if !s.external {
		switch m.IntN(8) {
		case 0, 1:
			d["host"] = s.name
		case 2:
			if m.chance(50) {
				d["host"] = s.name + "." + s.namespace
			}
		}
	}
	if strings.HasPrefix(d["host"].(string), "*") {
		d["host"] = "api.example.com"
	}
	if m.chance(4) {
		d["host"] = "unknown.example.com"
	}
	if m.chance(45) {
		d["subset"] = pick(m, []string{"v1", "v1", "v2", "v2", "v3", "gone"})
	}
	switch {
	case len(s.ports) > 1 && m.chance(75), m.chance(35):
		d["port"] = object{"number": pick(m, s.ports).number}
	case m.chance(6):
		d["port"] = object{"number": 1234}
	}
	return d
}

var (
	paths   = []string{"/api", "/api/v1", "/api/v1/items", "/apis", "/", "/admin", "/API", "/a/b"}
	methods = []string{"GET", "POST", "PUT"}
	values  = []string{"beta", "canary", "beta-2", "1", ""}
	keys    = []string{"x-user", "x-version", "end-user"}
	queries = []string{"v", "user"}
)

// text is a StringMatch; what it looks for is kept for requests.
func (m *maker) text(kind string, pool []string) object {
	v := pick(m, pool)
	m.seen[kind] = append(m.seen[kind], v)
	switch m.IntN(5) {
	case 0, 1:
		return object{"exact": v}
	case 2, 3:
		return object{"prefix": v}
	default:
		if kind == "path" {
			return object{"regex": pick(m, []string{v + ".*", "/api/v[0-9]+.*", v, "/a.*"})}
		}
		return object{"regex": pick(m, []string{v + ".*", "b.*", v, ".*"})}
	}
}

func (m *maker) match(namespace, gateway string) object {
	out := object{}
	if m.chance(15) {
		out["name"] = pick(m, []string{"first", "second"})
	}
	if m.chance(65) {
		out["uri"] = m.text("path", paths)
		if m.chance(12) {
			out["ignoreUriCase"] = true
		}
	}
	if m.chance(12) {
		out["method"] = object{"exact": pick(m, methods)}
	}
	header := func() object {
		if m.chance(20) {
			return pick(m, []object{{}, {"regex": "*"}})
		}
		return m.text("value", values[:4])
	}
	if m.chance(30) {
		out["headers"] = object{pick(m, keys): header()}
		if m.chance(25) {
			out["headers"].(object)[keys[0]] = header()
		}
	}
	if m.chance(10) {
		out["withoutHeaders"] = object{pick(m, keys): header()}
	}
	if m.chance(12) {
		out["queryParams"] = object{pick(m, queries): pick(m, []object{{"exact": "1"}, {"exact": ""}, {"regex": "b.*"}, {"prefix": "be"}})}
	}
	if m.chance(8) {
		out["authority"] = pick(m, []object{{"exact": pick(m, m.services).name}, {"prefix": "pay"}, {"prefix": "shop"}, {"regex": ".*\\.com"}})
	}
	if m.chance(14) {
		out["port"] = pick(m, []int{80, 8080, 8080, 9090, 7070, 1234})
	}
	if m.chance(18) {
		out["sourceLabels"] = pick(m, []object{{"app": "client"}, {"version": "v1"}, {"app": "payment"}, {"app": "orders", "version": "v2"}, {"app": "nobody"}})
	}
	if m.chance(12) {
		out["sourceNamespace"] = pick(m, m.everywhere())
	}
	if m.chance(10) {
		out["gateways"] = pick(m, []list{{"mesh"}, {"mesh"}, {"other"}})
		if gateway != "" && m.chance(70) {
			out["gateways"] = pick(m, []list{{gateway}, {gateway, "mesh"}})
		}
	}
	if m.chance(4) {
		out["scheme"] = pick(m, []object{{"exact": "http"}, {"exact": "https"}, {"prefix": "http"}})
	}
	if len(out) == 0 {
		out["uri"] = object{"prefix": "/"}
	}
	return out
}

func (m *maker) tcpRoutes(namespace, gateway string) list {
	var out list
	for range 1 + m.IntN(3) {
		r := object{"route": m.destinations(namespace)}
		if m.chance(70) {
			match := object{}
			if m.chance(50) {
				match["port"] = pick(m, []int{9090, 9090, 8080, 5432, 7070})
			}
			if m.chance(35) {
				match["destinationSubnets"] = pick(m, []list{{"10.96.0.0/16"}, {"10.96.0.10", "10.96.0.11"}, {"240.0.0.0/8"}, {pick(m, m.services).address + "/32"}})
			}
			if m.chance(30) {
				match["sourceLabels"] = pick(m, []object{{"app": "client"}, {"version": "v1"}, {"app": "nobody"}})
			}
			if m.chance(15) {
				match["sourceNamespace"] = pick(m, m.everywhere())
			}
			if m.chance(10) {
				match["gateways"] = pick(m, []list{{"mesh"}, {"other"}})
			}
			r["match"] = list{match}
		}
		out = append(out, r)
	}
	return out
}

func (m *maker) tlsRoutes(namespace string, hosts []string) list {
	var out list
	for range 1 + m.IntN(2) {
		match := object{"sniHosts": list{pick(m, hosts)}}
		if m.chance(40) {
			match["port"] = pick(m, []int{443, 8443, 443})
		}
		if m.chance(25) {
			match["sourceLabels"] = pick(m, []object{{"app": "client"}, {"version": "v1"}, {"app": "nobody"}})
		}
		if m.chance(15) {
			match["destinationSubnets"] = list{"10.96.0.0/16"}
		}
		out = append(out, object{"match": list{match}, "route": m.destinations(namespace)})
	}
	return out
}

func (m *maker) destinationRule() (object, func()) {
	s := pick(m, m.services)
	namespace := pick(m, []string{s.namespace, s.namespace, rootNamespace, pick(m, m.everywhere()), pick(m, m.namespaces)})
	h := s.host()
	if !s.external {
		switch m.IntN(10) {
		case 0, 1:
			h = s.name
		case 2:
			h = "*." + s.namespace + ".svc.cluster.local"
		case 3:
			h = pick(m, []string{"*.svc.cluster.local", "*.local", s.name + "." + s.namespace, "*"})
		}
	}
	spec := object{"host": h}
	var subsets list
	for _, v := range some(m, []string{"v1", "v2", "v3"}, m.IntN(4)) {
		subset := object{"name": v, "labels": object{"version": v}}
		if m.chance(12) {
			subset["labels"] = pick(m, []object{{"version": "v1"}, {"track": "canary"}, {"version": "v9"}, {"version": v, "track": "stable"}})
		}
		if m.chance(12) {
			subset["trafficPolicy"] = m.policy()
		}
		subsets = append(subsets, subset)
	}
	if len(subsets) > 0 {
		spec["subsets"] = subsets
	}
	if m.chance(35) {
		spec["trafficPolicy"] = m.policy()
	}
	if m.chance(12) {
		spec["workloadSelector"] = object{"matchLabels": pick(m, []object{{"app": "client"}, {"app": "payment"}, {"version": "v1"}})}
	}
	m.exports(spec)
	return m.istio("DestinationRule", namespace, "dr", spec), nil
}

func (m *maker) policy() object {
	return pick(m, []object{
		{"connectionPool": object{"tcp": object{"maxConnections": 7}, "http": object{"http1MaxPendingRequests": 3}}},
		{"outlierDetection": object{"consecutive5xxErrors": 3, "interval": "10s"}},
		{"loadBalancer": object{"simple": "ROUND_ROBIN"}},
		{"loadBalancer": object{"simple": "PASSTHROUGH"}},
		{"loadBalancer": object{"consistentHash": object{"httpHeaderName": "x-user"}}},
		{"tls": object{"mode": pick(m, []string{"ISTIO_MUTUAL", "DISABLE", "SIMPLE"})}},
		{"portLevelSettings": list{object{"port": object{"number": 8080}, "loadBalancer": object{"simple": "RANDOM"}}}},
	})
}

func (m *maker) sidecar() (object, func()) {
	namespace := pick(m, m.everywhere())
	spec := object{}
	if m.chance(45) && namespace != rootNamespace {
		spec["workloadSelector"] = object{"labels": pick(m, []object{{"app": "client"}, {"version": "v1"}, {"app": "payment"}})}
	}
	hosts := func() list {
		var out list
		for range 1 + m.IntN(3) {
			s := pick(m, m.services)
			ns := pick(m, m.everywhere())
			out = append(out, pick(m, []string{"./*", "*/*", "*/*", s.namespace + "/*", ns + "/*", ns + "/*", "*/" + s.host(), "./" + s.host(), s.namespace + "/" + s.host(), "~/*",
				"*/*." + s.namespace + ".svc.cluster.local", "*/*.example.com", "~" + s.namespace + "/*", "~*/" + s.host()}))
		}
		return out
	}
	egress := list{}
	if m.chance(25) {
		n := pick(m, []int{8080, 9090, 80, 443})
		one := object{"port": object{"number": n, "name": "p", "protocol": pick(m, []string{"HTTP", "HTTP", "TCP", "TLS"})}, "hosts": hosts()}
		if m.chance(15) {
			one["bind"] = pick(m, []string{"127.0.0.1", "0.0.0.0", "10.96.0.10"})
		}
		egress = append(egress, one)
	}
	if m.chance(85) {
		egress = append(egress, object{"hosts": hosts()})
	}
	if len(egress) > 0 {
		spec["egress"] = egress
	}
	if m.chance(30) {
		spec["outboundTrafficPolicy"] = object{"mode": pick(m, []string{"REGISTRY_ONLY", "ALLOW_ANY"})}
	}
	return m.istio("Sidecar", namespace, "sidecar", spec), nil
}
