package outbound

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	directresponse "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"istio.io/istio/pilot/pkg/util/protoconv"
	"istio.io/istio/pkg/wellknown"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/traffic"
)

// Prove gives the World's listeners and route configurations to a real Envoy,
// each on an address of its own, asks it, and says where it chose another filter
// chain, virtual host or route than this package. They answer with what they are.
func Prove(dir string, world *traffic.World, configs []*Config) (asked int, differences []string, err error) {
	var listeners []json.RawMessage
	addresses, expected := map[string]string{}, map[string]bool{}
	for i, c := range configs {
		for j, rc := range c.Routes {
			address := fmt.Sprintf("127.9.%d.%d", i, j+1)
			l, err := listenerOf(address, rc)
			if err != nil {
				return 0, nil, err
			}
			listeners = append(listeners, l)
			addresses[fmt.Sprint(i, rc.Name)] = address + ":10000"
		}
		for j, l := range c.Listeners {
			address := fmt.Sprintf("127.8.%d.%d", i, j+1)
			chains, err := chainsOf(address, l)
			if err != nil {
				return 0, nil, err
			}
			listeners = append(listeners, chains)
			if refused(l) {
				expected[address] = true
			}
			addresses[fmt.Sprint(i, "listener", l.Name)] = address + ":10000"
		}
	}
	envoy, err := proxy.Start(dir, listeners)
	if err != nil {
		return 0, nil, err
	}
	defer envoy.Stop()
	for name, why := range envoy.Refused {
		// Without a name it is that of the whole update.
		if !expected[name] && name != "" {
			differences = append(differences, fmt.Sprintf("Envoy refuses %s: %s", name, why))
		}
	}
	for name := range expected {
		if envoy.Refused[name] == "" {
			differences = append(differences, fmt.Sprintf("Envoy takes %s", name))
		}
	}
	for i, p := range world.Proxies {
		for _, r := range p.Requests {
			if l := configs[i].listenerFor(r.Address, r.At()); l != nil && !refused(l) {
				got, err := connect(addresses[fmt.Sprint(i, "listener", l.Name)], r)
				if err != nil {
					return asked, differences, err
				}
				asked++
				if want := chainLabel(l, chainFor(l, r, r.At())); got != want {
					differences = append(differences, fmt.Sprintf("%s %+v: at %s Envoy takes %q, not %q", p.Name, r, l.Name, got, want))
				}
			}
			address, ok := addresses[fmt.Sprint(i, configs[i].Ask(r).RouteConfiguration)]
			if !ok || envoy.Refused[strings.TrimSuffix(address, ":10000")] != "" {
				continue
			}
			got, err := ask(address, r)
			if err != nil {
				return asked, differences, err
			}
			asked++
			if want := configs[i].choice(r); got != want {
				differences = append(differences, fmt.Sprintf("%s %+v: Envoy takes %q, not %q", p.Name, r, got, want))
			}
		}
	}
	return asked, differences, nil
}

// choice is the virtual host and the number of its route, or nothing.
func (c *Config) choice(r traffic.Request) string {
	name := c.Ask(r).RouteConfiguration
	for _, rc := range c.Routes {
		if rc.Name != name {
			continue
		}
		v := virtualHost(rc, authority(r))
		if v == nil {
			return ""
		}
		if i := routeOf(v, r); i >= 0 {
			return label(v, i)
		}
	}
	return ""
}

func label(v *route.VirtualHost, i int) string { return fmt.Sprintf("%s route %d", v.Name, i) }

// listenerOf serves the routes, with names for what they would do.
func listenerOf(address string, from *route.RouteConfiguration) (json.RawMessage, error) {
	rc := proto.Clone(from).(*route.RouteConfiguration)
	rc.ValidateClusters = nil
	for _, v := range rc.VirtualHosts {
		v.TypedPerFilterConfig = nil
		for i, r := range v.Routes {
			v.Routes[i] = &route.Route{Match: r.Match, Action: &route.Route_DirectResponse{DirectResponse: &route.DirectResponseAction{
				Status: 200, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: label(v, i)}},
			}}}
		}
	}
	routes, err := protojson.Marshal(rc)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"name":    address,
		"address": map[string]any{"socket_address": map[string]any{"address": address, "port_value": 10000}},
		"filter_chains": []any{map[string]any{"filters": []any{map[string]any{"name": "http", "typed_config": map[string]any{
			"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix": "http", "normalize_path": true, "route_config": json.RawMessage(routes),
			"http_filters": []any{map[string]any{"name": "router", "typed_config": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}},
		}}}}},
	})
}

func ask(address string, r traffic.Request) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", r.Method, r.Path, authority(r))
	for k, v := range r.Headers {
		if k != "host" {
			fmt.Fprintf(conn, "%s: %s\r\n", k, v)
		}
	}
	fmt.Fprint(conn, "\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != 200 {
		return "", err
	}
	return string(body), err
}

func chainLabel(l *listener.Listener, c *listener.FilterChain) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("chain %d %s", slices.Index(append(slices.Clone(l.FilterChains), l.DefaultFilterChain), c), c.Name)
}

// chainsOf has the filter chains of a listener, which say their names. The
// address that Envoy goes by is what the connection's first line says.
func chainsOf(address string, from *listener.Listener) (json.RawMessage, error) {
	out := &listener.Listener{Name: address, ListenerFiltersTimeout: from.ListenerFiltersTimeout, ContinueOnListenerFiltersTimeout: from.ContinueOnListenerFiltersTimeout,
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: address,
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 10000}}}},
		ListenerFilters: []*listener.ListenerFilter{{Name: "proxy", ConfigType: &listener.ListenerFilter_TypedConfig{TypedConfig: protoconv.MessageToAny(&proxyprotocol.ProxyProtocol{})}}}}
	for _, f := range from.ListenerFilters {
		if f.Name == wellknown.TLSInspector || f.Name == wellknown.HTTPInspector {
			out.ListenerFilters = append(out.ListenerFilters, f)
		}
	}
	answer := func(c *listener.FilterChain) *listener.FilterChain {
		if c == nil {
			return nil
		}
		return &listener.FilterChain{Name: c.Name, FilterChainMatch: c.FilterChainMatch, Filters: []*listener.Filter{{Name: "answer", ConfigType: &listener.Filter_TypedConfig{
			TypedConfig: protoconv.MessageToAny(&directresponse.Config{Response: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: chainLabel(from, c)}}})}}}}
	}
	for _, c := range from.FilterChains {
		out.FilterChains = append(out.FilterChains, answer(c))
	}
	out.DefaultFilterChain = answer(from.DefaultFilterChain)
	return protojson.Marshal(out)
}

// connect says what the application would first, and reads the answer.
func connect(address string, r traffic.Request) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "PROXY TCP4 192.0.2.1 %s 40000 %d\r\n", r.Address, r.At())
	switch r.Protocol {
	case "http":
		fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: x\r\n\r\n", r.Method)
	case "tls":
		heard := &ear{Conn: conn}
		// The handshake cannot go on: the answer is none of TLS.
		_ = tls.Client(heard, &tls.Config{ServerName: r.SNI, InsecureSkipVerify: true}).Handshake()
		return heard.text.String(), nil
	default:
		fmt.Fprint(conn, "ping\n")
	}
	// Envoy may end the connection with bytes unread.
	text, _ := io.ReadAll(conn)
	return string(text), nil
}

// ear reads to the end, whoever asks, and keeps what it was.
type ear struct {
	net.Conn
	text strings.Builder
}

func (e *ear) Read([]byte) (int, error) {
	_, _ = io.Copy(&e.text, e.Conn)
	return 0, io.EOF
}
