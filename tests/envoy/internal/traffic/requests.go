package traffic

import "strings"

// callers are the pods to look at: the gateway, each namespace's client, and others.
func (m *maker) callers() []pod {
	out := []pod{m.gateway}
	var others []pod
	for _, p := range m.pods {
		switch {
		case p.gateway:
		case p.labels["app"] == "client":
			out = append(out, p)
		default:
			others = append(others, p)
		}
	}
	return append(out, some(m, others, 2)...)
}

// elsewhere is what DNS gives for names that no object has.
const elsewhere = "203.0.113.9"

func (m *maker) request(from pod) Request {
	if from.gateway {
		return m.toGateway(from)
	}
	r := Request{Protocol: "http"}
	s := pick(m, m.services)
	switch n := m.IntN(20); {
	case n < 14 && s.external:
		r.Host = m.concrete(pick(m, s.hosts))
	case n < 3:
		r.Host = s.name
		if s.namespace != from.namespace && m.chance(60) {
			r.Host += "." + s.namespace
		}
	case n < 5:
		r.Host = s.name + "." + s.namespace
	case n < 6:
		r.Host = s.name + "." + s.namespace + ".svc"
	case n < 14:
		r.Host = s.host()
	case n < 18 && len(m.virtual) > 0:
		r.Host = m.concrete(pick(m, m.virtual))
	default:
		r.Host = pick(m, []string{"unknown.example.com", "nowhere", "payment", "orders.shop"})
	}
	d, known := m.find(from.namespace, r.Host)
	if r.Port = pick(m, []int{80, 80, 8080}); known && len(d.ports) > 0 {
		r.Port = pick(m, d.ports).number
	}
	if m.chance(8) {
		r.Port = pick(m, []int{80, 8080, 9090, 1234, 443})
	}
	r.Address, r.By = m.resolve(from.namespace, r.Host)
	// What is spoken is mostly what the port of this address is for.
	r.Protocol = "http"
	if known {
		for _, p := range d.ports {
			if p.number == r.Port && p.protocol != "" {
				r.Protocol = p.protocol
			}
		}
	} else if r.Port == 443 {
		r.Protocol = "tls"
	}
	if m.chance(4) {
		r.Protocol = pick(m, []string{"http", "tls", "tcp"})
	}
	m.fill(&r)
	return r
}

func (m *maker) toGateway(from pod) Request {
	r := Request{Protocol: "http", Port: 80, Address: from.ip, By: "gateway"}
	switch n := m.IntN(20); {
	case n < 3:
		r.Protocol, r.Port = "tls", 443
	case n == 3:
		r.Port = 8080
	case n == 4:
		r.Protocol, r.Port = "tcp", 9090
	}
	r.Listens = r.Port + m.shift
	pool := append([]string{"shop.example.com", "www.example.com", "other.example.org"}, m.virtual...)
	for _, g := range m.gateways {
		for _, h := range m.served[g] {
			pool = append(pool, h[strings.IndexByte(h, '/')+1:])
		}
	}
	if len(m.bound) > 0 && m.chance(85) {
		pool = m.bound
	}
	r.Host = m.concrete(pick(m, pool))
	m.fill(&r)
	return r
}

// concrete is a name that a wildcard is for.
func (m *maker) concrete(h string) string {
	switch {
	case h == "*":
		return "any.example.org"
	case strings.HasPrefix(h, "*.") && strings.HasSuffix(h, ".svc.cluster.local") && m.chance(60):
		s := pick(m, m.services)
		return s.name + h[1:]
	case strings.HasPrefix(h, "*"):
		return pick(m, []string{"one", "two.three"}) + h[1:]
	}
	return h
}

// find is the Service that cluster DNS has under the name, else the ServiceEntry of the host.
func (m *maker) find(namespace, host string) (service, bool) {
	for _, s := range m.services {
		if !s.external {
			full := s.name + "." + s.namespace
			if host == full || host == full+".svc" || host == full+".svc.cluster.local" || host == s.name && s.namespace == namespace {
				return s, true
			}
		}
	}
	for _, s := range m.services {
		for _, h := range s.hosts {
			if h == host || strings.HasPrefix(h, "*") && strings.HasSuffix(host, h[1:]) {
				return s, true
			}
		}
	}
	return service{}, false
}

// resolve is where the caller's DNS leads, and to what kind of thing.
func (m *maker) resolve(namespace, host string) (string, string) {
	s, ok := m.find(namespace, host)
	for range 3 {
		if ok && s.alias != "" {
			s, ok = m.find(namespace, s.alias)
		}
	}
	switch {
	case ok && s.address != "" && s.external:
		return s.address, "serviceEntry"
	case ok && s.address != "":
		return s.address, "service"
	case ok && s.headless:
		for _, p := range m.pods {
			if p.namespace == s.namespace && p.labels["app"] == s.name && p.ready {
				return p.ip, "pod"
			}
		}
	}
	return elsewhere, "external"
}

// fill adds what the protocol has.
func (m *maker) fill(r *Request) {
	switch r.Protocol {
	case "tls":
		r.SNI = r.Host
		if r.By == "gateway" {
			// HTTP is within, for gateways that end TLS.
			m.http(r)
		}
	case "http":
		m.http(r)
	}
}

func (m *maker) http(r *Request) {
	r.Method, r.Path = pick(m, methods), m.aim("path", paths)
	if m.chance(50) {
		r.Method = "GET"
	}
	switch m.IntN(8) {
	case 0:
		r.Path += "/x"
	case 1:
		r.Path += "x"
	case 2:
		r.Path = strings.ToUpper(r.Path)
	}
	if strings.HasPrefix(r.Path, "//") {
		r.Path = r.Path[1:]
	}
	if m.chance(25) {
		r.Path += "?" + pick(m, queries) + "=" + pick(m, []string{"1", "beta", "", "2"})
	}
	r.Headers = map[string]string{}
	for _, k := range keys {
		if m.chance(35) {
			r.Headers[k] = m.aim("value", values)
		}
	}
	if m.chance(10) {
		r.Headers["host"] = r.Host + ":" + "80"
	}
}

func (m *maker) aim(kind string, pool []string) string {
	if seen := m.seen[kind]; len(seen) > 0 && m.chance(65) {
		return pick(m, seen)
	}
	return pick(m, pool)
}
