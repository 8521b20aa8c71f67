package outbound

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/wellknown"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/traffic"
)

// This is how Envoy chooses, by its API's documentation: listener by address,
// filter chain by FilterChainMatch, virtual host by domain, route by RouteMatch.

// listenerFor is the one of the address and port, else that of the port, else
// the one that gets all that is redirected.
func (c *Config) listenerFor(address string, port int) *listener.Listener {
	for _, ip := range []string{address, "0.0.0.0"} {
		for _, l := range c.Listeners {
			a := l.GetAddress().GetSocketAddress()
			if a.GetAddress() == ip && int(a.GetPortValue()) == port {
				return l
			}
		}
	}
	return xdstest.ExtractListener("virtualOutbound", c.Listeners)
}

func inspects(l *listener.Listener, name string, port int) bool {
	for _, f := range l.ListenerFilters {
		if f.Name == name {
			return f.FilterDisabled == nil || !xdstest.EvaluateListenerFilterPredicates(f.FilterDisabled, port)
		}
	}
	return false
}

// chainFor narrows the chains down, field by field in Envoy's order: those that
// match best, or where none does those that do not ask.
func chainFor(l *listener.Listener, r traffic.Request, port int) *listener.FilterChain {
	transport, sni, alpn := "raw_buffer", "", ""
	if inspects(l, wellknown.TLSInspector, port) && r.Protocol == "tls" {
		transport, sni = "tls", strings.ToLower(r.SNI)
	}
	if inspects(l, wellknown.HTTPInspector, port) && r.Protocol == "http" {
		alpn = "http/1.1"
	}
	chains := narrow(l.FilterChains, func(m *listener.FilterChainMatch) (bool, int) {
		return m.GetDestinationPort() != nil, yes(int(m.GetDestinationPort().GetValue()) == port)
	})
	chains = narrow(chains, func(m *listener.FilterChainMatch) (bool, int) {
		best := 0
		for _, block := range m.GetPrefixRanges() {
			a, err := netip.ParseAddr(block.GetAddressPrefix())
			if err != nil {
				continue
			}
			prefix, err := a.Prefix(int(block.GetPrefixLen().GetValue()))
			if ip, wrong := netip.ParseAddr(r.Address); err == nil && wrong == nil && prefix.Contains(ip) {
				best = max(best, prefix.Bits()+1)
			}
		}
		return len(m.GetPrefixRanges()) > 0, best
	})
	chains = narrow(chains, func(m *listener.FilterChainMatch) (bool, int) {
		best := 0
		for _, name := range m.GetServerNames() {
			switch {
			case name == sni:
				best = 1 << 20
			case strings.HasPrefix(name, "*.") && len(sni) > len(name)-1 && strings.HasSuffix(sni, name[1:]):
				best = max(best, len(name))
			}
		}
		return len(m.GetServerNames()) > 0, best
	})
	chains = narrow(chains, func(m *listener.FilterChainMatch) (bool, int) {
		return m.GetTransportProtocol() != "", yes(m.GetTransportProtocol() == transport)
	})
	chains = narrow(chains, func(m *listener.FilterChainMatch) (bool, int) {
		return len(m.GetApplicationProtocols()) > 0, yes(slices.Contains(m.GetApplicationProtocols(), alpn))
	})
	if len(chains) > 0 {
		return chains[0]
	}
	return l.DefaultFilterChain
}

// refused says whether Envoy does not take the listener, because two chains ask for
// the same. Chains without anything to ask are the same too.
func refused(l *listener.Listener) bool {
	seen := map[string]bool{}
	for _, c := range l.FilterChains {
		m := c.GetFilterChainMatch()
		blocks := []string{""}
		for _, b := range m.GetPrefixRanges() {
			blocks = append(blocks, fmt.Sprintf("%s/%d", b.AddressPrefix, b.GetPrefixLen().GetValue()))
		}
		for _, block := range blocks[min(1, len(blocks)-1):] {
			for _, name := range orEmpty(m.GetServerNames()) {
				for _, alpn := range orEmpty(m.GetApplicationProtocols()) {
					key := fmt.Sprint(m.GetDestinationPort().GetValue(), " ", block, " ", name, " ", m.GetTransportProtocol(), " ", alpn)
					if seen[key] {
						return true
					}
					seen[key] = true
				}
			}
		}
	}
	return false
}

func orEmpty(names []string) []string {
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

func yes(is bool) int {
	if is {
		return 1
	}
	return 0
}

// narrow keeps the best of the chains by what a field has, and how well it matches.
func narrow(chains []*listener.FilterChain, field func(*listener.FilterChainMatch) (asks bool, rank int)) (out []*listener.FilterChain) {
	best := 0
	for _, c := range chains {
		if asks, rank := field(c.GetFilterChainMatch()); asks {
			best = max(best, rank)
		}
	}
	for _, c := range chains {
		if asks, rank := field(c.GetFilterChainMatch()); asks && rank > 0 && rank == best || !asks && best == 0 {
			out = append(out, c)
		}
	}
	return out
}

// terminal is what the chain ends in: one of the two.
func terminal(c *listener.FilterChain) (http *hcm.HttpConnectionManager, proxy *tcp.TcpProxy) {
	for _, f := range c.Filters {
		switch f.Name {
		case wellknown.HTTPConnectionManager:
			http = xdstest.SilentlyUnmarshalAny[hcm.HttpConnectionManager](f.GetTypedConfig())
		case wellknown.TCPProxy:
			proxy = xdstest.SilentlyUnmarshalAny[tcp.TcpProxy](f.GetTypedConfig())
		}
	}
	return http, proxy
}

func (c *Config) routesOf(m *hcm.HttpConnectionManager) *route.RouteConfiguration {
	if inline := m.GetRouteConfig(); inline != nil {
		return inline
	}
	for _, r := range c.Routes {
		if r.Name == m.GetRds().GetRouteConfigName() {
			return r
		}
	}
	return nil
}

// virtualHost is the one of the exact name, of the longest suffix, of the
// longest prefix, of all names.
func virtualHost(rc *route.RouteConfiguration, host string) *route.VirtualHost {
	host = strings.ToLower(host)
	if name, _, found := strings.Cut(host, ":"); found && rc.GetIgnorePortInHostMatching() {
		host = name
	}
	var found *route.VirtualHost
	best := [2]int{}
	for _, v := range rc.GetVirtualHosts() {
		for _, d := range v.Domains {
			rank := [2]int{}
			switch d = strings.ToLower(d); {
			case d == host:
				rank = [2]int{4, 0}
			case d == "*":
				rank = [2]int{1, 0}
			case strings.HasPrefix(d, "*") && len(host) > len(d)-1 && strings.HasSuffix(host, d[1:]):
				rank = [2]int{3, len(d)}
			case strings.HasSuffix(d, "*") && len(host) > len(d)-1 && strings.HasPrefix(host, d[:len(d)-1]):
				rank = [2]int{2, len(d)}
			}
			if cmp.Or(cmp.Compare(rank[0], best[0]), cmp.Compare(rank[1], best[1])) > 0 {
				best, found = rank, v
			}
		}
	}
	return found
}

// routeOf is the first that takes the request, or -1.
func routeOf(v *route.VirtualHost, r traffic.Request) int {
	path, query, _ := strings.Cut(r.Path, "?")
	for i, candidate := range v.Routes {
		m := candidate.GetMatch()
		if pathMatches(m, path) && headersMatch(m.Headers, r) && queryMatches(m.QueryParameters, query) && len(m.DynamicMetadata) == 0 {
			return i
		}
	}
	return -1
}

func pathMatches(m *route.RouteMatch, path string) bool {
	fold := func(text string) string { return text }
	if m.GetCaseSensitive() != nil && !m.GetCaseSensitive().GetValue() {
		fold = strings.ToLower
	}
	switch p := m.PathSpecifier.(type) {
	case *route.RouteMatch_Prefix:
		return strings.HasPrefix(fold(path), fold(p.Prefix))
	case *route.RouteMatch_Path:
		return fold(path) == fold(p.Path)
	case *route.RouteMatch_PathSeparatedPrefix:
		rest, ok := strings.CutPrefix(fold(path), fold(p.PathSeparatedPrefix))
		return ok && (rest == "" || rest[0] == '/')
	case *route.RouteMatch_SafeRegex:
		return whole(p.SafeRegex, path)
	}
	return false
}

// whole says whether the expression is for all of the text: Envoy looks for no part.
func whole(m *matcher.RegexMatcher, text string) bool {
	expression, err := regexp.Compile(`\A(?:` + m.GetRegex() + `)\z`)
	return err == nil && expression.MatchString(text)
}

func headersMatch(matchers []*route.HeaderMatcher, r traffic.Request) bool {
	headers := map[string]string{":authority": authority(r), ":method": r.Method, ":path": r.Path, ":scheme": "http"}
	if r.Protocol == "tls" {
		headers[":scheme"] = "https"
	}
	for k, v := range r.Headers {
		headers[strings.ToLower(k)] = v
	}
	for _, m := range matchers {
		value, present := headers[strings.ToLower(m.Name)]
		switch s := m.HeaderMatchSpecifier.(type) {
		case *route.HeaderMatcher_PresentMatch:
			if (present == s.PresentMatch) == m.InvertMatch {
				return false
			}
		case *route.HeaderMatcher_StringMatch:
			if !present && !m.TreatMissingHeaderAsEmpty {
				return false
			}
			if textMatches(s.StringMatch, value) == m.InvertMatch {
				return false
			}
		}
	}
	return true
}

// authority is the Host header: the host, with a port if the caller wrote one.
func authority(r traffic.Request) string { return cmp.Or(r.Headers["host"], r.Host) }

func textMatches(m *matcher.StringMatcher, text string) bool {
	fold := func(s string) string { return s }
	if m.IgnoreCase {
		fold = strings.ToLower
	}
	switch p := m.MatchPattern.(type) {
	case *matcher.StringMatcher_Exact:
		return fold(text) == fold(p.Exact)
	case *matcher.StringMatcher_Prefix:
		return strings.HasPrefix(fold(text), fold(p.Prefix))
	case *matcher.StringMatcher_Suffix:
		return strings.HasSuffix(fold(text), fold(p.Suffix))
	case *matcher.StringMatcher_Contains:
		return strings.Contains(fold(text), fold(p.Contains))
	case *matcher.StringMatcher_SafeRegex:
		return whole(p.SafeRegex, text)
	}
	return false
}

func queryMatches(matchers []*route.QueryParameterMatcher, query string) bool {
	values, err := url.ParseQuery(query)
	if err != nil {
		return false
	}
	for _, m := range matchers {
		value, present := "", values.Has(m.Name)
		if present {
			value = values[m.Name][0]
		}
		switch s := m.QueryParameterMatchSpecifier.(type) {
		case *route.QueryParameterMatcher_PresentMatch:
			if present != s.PresentMatch {
				return false
			}
		case *route.QueryParameterMatcher_StringMatch:
			if !present || !textMatches(s.StringMatch, value) {
				return false
			}
		default:
			if !present {
				return false
			}
		}
	}
	return true
}
