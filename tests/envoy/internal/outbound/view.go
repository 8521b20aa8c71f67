package outbound

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultcommon "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	fault "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	tcp "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	xdstype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"istio.io/istio/pilot/test/xdstest"
	"istio.io/istio/pkg/wellknown"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/traffic"
)

// Cluster is a destination.
type Cluster struct {
	Name   string `json:"name"`
	Weight uint32 `json:"weight"`
	// Exists says whether the proxy has such a cluster.
	Exists bool `json:"exists"`
	// Endpoints are the healthy ones; null where the cluster has none of its own.
	Endpoints *int `json:"endpoints"`
	// DestinationRule is NAMESPACE/NAME; of several that were merged, the first.
	DestinationRule *string `json:"destinationRule"`
}

// Action is what is done with what a route, or a chain without HTTP, takes.
type Action struct {
	VirtualService *string   `json:"virtualService"` // NAMESPACE/NAME; of a delegate, the root
	Route          string    `json:"route"`
	Clusters       []Cluster `json:"clusters"`
	Timeout        *string   `json:"timeout"` // null: none; for gateways and sidecars alike "0s" is none too
	Retries        *Retries  `json:"retries"`
	Fault          *Fault    `json:"fault"`
	Rewrite        *Rewrite  `json:"rewrite"`
	Redirect       any       `json:"redirect"`       // Envoy's RedirectAction
	DirectResponse *Direct   `json:"directResponse"` // also how BlackHole answers
	Mirrors        []Mirror  `json:"mirrors"`
}

type Retries struct {
	NumRetries    uint32   `json:"numRetries"`
	RetryOn       string   `json:"retryOn"`
	PerTryTimeout *string  `json:"perTryTimeout"`
	StatusCodes   []uint32 `json:"retriableStatusCodes"`
}

// Fault has shares in percent; Envoy knows none without.
type Fault struct {
	Delay *struct {
		Fixed   string  `json:"fixedDelay"`
		Percent float64 `json:"percent"`
	} `json:"delay"`
	Abort *struct {
		HTTP    *uint32 `json:"httpStatus"`
		GRPC    *uint32 `json:"grpcStatus"`
		Percent float64 `json:"percent"`
	} `json:"abort"`
}

type Rewrite struct {
	Prefix    *string `json:"uri"`
	Regex     *string `json:"regex"`
	Substitue *string `json:"substitution"`
	Authority *string `json:"authority"`
}

type Direct struct {
	Status uint32 `json:"status"`
	Body   string `json:"body"`
}

type Mirror struct {
	Cluster string  `json:"cluster"`
	Percent float64 `json:"percent"`
}

// Result is what becomes of a request.
type Result struct {
	Outcome string `json:"outcome"`
	// Listener, chain and route configuration are Istio's names.
	Listener           string `json:"listener"`
	Chain              string `json:"filterChain"`
	RouteConfiguration string `json:"routeConfiguration"`
	VirtualHost        string `json:"vhost"`
	Action
}

// Route is one in a virtual host, with Envoy's match.
type Route struct {
	Match any `json:"match"`
	Action
}

type VirtualHost struct {
	Name    string   `json:"name"`
	Domains []string `json:"domains"`
	Routes  []Route  `json:"routes"`
}

type RouteConfiguration struct {
	Name  string        `json:"name"`
	Hosts []VirtualHost `json:"virtualHosts"`
}

// Chain is one of a listener's; without HTTP it has the action itself.
type Chain struct {
	Name               string `json:"name"`
	Match              any    `json:"match"`
	RouteConfiguration string `json:"routeConfiguration"`
	*Action
}

type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Port    uint32 `json:"port"`
	// Refused says that Envoy does not take it.
	Refused bool    `json:"refused"`
	Chains  []Chain `json:"filterChains"`
	Default *Chain  `json:"defaultFilterChain"`
}

// Owned is a cluster, and what made it so.
type Owned struct {
	Name            string  `json:"name"`
	Subset          string  `json:"subset"`
	Type            string  `json:"type"`
	DestinationRule *string `json:"destinationRule"`
	Endpoints       *int    `json:"endpoints"`
}

// View is all that a proxy is configured to do with what goes out.
type View struct {
	Routes    []RouteConfiguration `json:"routeConfigurations"`
	Listeners []Listener           `json:"listeners"`
	Clusters  []Owned              `json:"clusters"`
}

// Ask is what the configuration does with a request.
func (c *Config) Ask(r traffic.Request) Result {
	port := r.At()
	out := Result{Outcome: "reset", Action: Action{Clusters: []Cluster{}, Mirrors: []Mirror{}}}
	l := c.listenerFor(r.Address, port)
	if l == nil {
		return out
	}
	out.Listener = l.Name
	if refused(l) {
		out.Outcome = "refused"
		return out
	}
	chain := chainFor(l, r, port)
	if chain == nil {
		return out
	}
	out.Chain = chain.Name
	http, proxy := terminal(chain)
	if proxy != nil {
		out.Action = c.tcpAction(proxy, chain.Metadata)
		out.Outcome = outcome(out.Action)
		return out
	}
	// Bytes that are no HTTP, where HTTP is spoken; within TLS that ends here there is HTTP.
	endsTLS := r.Protocol == "tls" && r.By == "gateway" && chain.TransportSocket != nil
	if http == nil || r.Protocol != "http" && !endsTLS {
		return out
	}
	out.Outcome = "404"
	rc := c.routesOf(http)
	out.RouteConfiguration = rc.GetName()
	v := virtualHost(rc, authority(r))
	if v == nil {
		return out
	}
	out.VirtualHost = v.Name
	if v.RequireTls == route.VirtualHost_ALL && r.Protocol != "tls" {
		out.Outcome = "redirect"
		return out
	}
	found := routeOf(v, r)
	if found < 0 {
		return out
	}
	out.Action = c.action(v.Routes[found])
	out.Outcome = outcome(out.Action)
	if v.Name == "block_all" {
		out.Outcome = "blocked"
	} else if strings.HasPrefix(v.Name, "blackhole:") {
		out.Outcome = "404"
	}
	return out
}

func outcome(a Action) string {
	switch {
	case a.Redirect != nil:
		return "redirect"
	case a.DirectResponse != nil:
		return "direct"
	}
	for _, c := range a.Clusters {
		switch {
		case c.Name == "PassthroughCluster":
			return "passthrough"
		case c.Name == "BlackHoleCluster":
			return "blocked"
		case c.Exists:
			return "routed"
		}
	}
	return "503"
}

// View is all of it.
func (c *Config) View() View {
	out := View{Routes: []RouteConfiguration{}, Listeners: []Listener{}, Clusters: []Owned{}}
	for _, rc := range c.Routes {
		r := RouteConfiguration{Name: rc.Name, Hosts: []VirtualHost{}}
		for _, v := range rc.VirtualHosts {
			host := VirtualHost{Name: v.Name, Domains: v.Domains, Routes: []Route{}}
			for _, one := range v.Routes {
				// Istio goes through a map there.
				slices.SortFunc(one.Match.QueryParameters, func(a, b *route.QueryParameterMatcher) int { return strings.Compare(a.Name, b.Name) })
				host.Routes = append(host.Routes, Route{Match: asJSON(one.Match), Action: c.action(one)})
			}
			r.Hosts = append(r.Hosts, host)
		}
		out.Routes = append(out.Routes, r)
	}
	for _, l := range c.Listeners {
		if l.Name == "virtualInbound" {
			continue
		}
		a := l.GetAddress().GetSocketAddress()
		listener := Listener{Name: l.Name, Address: a.GetAddress(), Port: a.GetPortValue(), Refused: refused(l), Chains: []Chain{}}
		for i, f := range append(slices.Clone(l.FilterChains), l.DefaultFilterChain) {
			if f == nil {
				continue
			}
			chain := Chain{Name: f.Name, Match: asJSON(f.FilterChainMatch)}
			if http, proxy := terminal(f); http != nil {
				chain.RouteConfiguration = c.routesOf(http).GetName()
			} else if proxy != nil {
				action := c.tcpAction(proxy, f.Metadata)
				chain.Action = &action
			}
			if i == len(l.FilterChains) {
				listener.Default = &chain
			} else {
				listener.Chains = append(listener.Chains, chain)
			}
		}
		out.Listeners = append(out.Listeners, listener)
	}
	for _, one := range c.Clusters {
		if strings.HasPrefix(one.Name, "inbound|") {
			continue
		}
		o := Owned{Name: one.Name, Type: one.GetType().String(), DestinationRule: origin(one.Metadata, "destination-rule"), Endpoints: c.endpoints(one.Name)}
		if parts := strings.Split(one.Name, "|"); len(parts) == 4 {
			o.Subset = parts[2]
		}
		out.Clusters = append(out.Clusters, o)
	}
	// Istio goes through maps for them.
	slices.SortFunc(out.Listeners, func(a, b Listener) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Clusters, func(a, b Owned) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(out.Routes, func(a, b RouteConfiguration) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (c *Config) endpoints(name string) *int {
	if n, ok := c.Healthy[name]; ok {
		return &n
	}
	return nil
}

func (c *Config) cluster(name string, weight uint32) Cluster {
	out := Cluster{Name: name, Weight: weight}
	for _, one := range c.Clusters {
		if one.Name == name {
			out.Exists, out.Endpoints, out.DestinationRule = true, c.endpoints(name), origin(one.Metadata, "destination-rule")
		}
	}
	return out
}

// origin is the NAMESPACE/NAME that Istio leaves in the metadata of what comes from an object of the kind.
func origin(metadata *core.Metadata, kind string) *string {
	parts := strings.Split(metadata.GetFilterMetadata()["istio"].GetFields()["config"].GetStringValue(), "/")
	if len(parts) != 8 || parts[6] != kind {
		return nil
	}
	name := parts[5] + "/" + parts[7]
	return &name
}

func (c *Config) tcpAction(p *tcp.TcpProxy, metadata *core.Metadata) Action {
	out := Action{VirtualService: origin(metadata, "virtual-service"), Clusters: []Cluster{}, Mirrors: []Mirror{}}
	for _, w := range p.GetWeightedClusters().GetClusters() {
		out.Clusters = append(out.Clusters, c.cluster(w.Name, w.Weight))
	}
	if name := p.GetCluster(); name != "" {
		out.Clusters = append(out.Clusters, c.cluster(name, 1))
	}
	return out
}

func (c *Config) action(r *route.Route) Action {
	out := Action{VirtualService: origin(r.Metadata, "virtual-service"), Route: r.Name, Clusters: []Cluster{}, Mirrors: []Mirror{}}
	if typed := r.TypedPerFilterConfig[wellknown.Fault]; typed != nil {
		out.Fault = faultOf(xdstest.SilentlyUnmarshalAny[fault.HTTPFault](typed))
	}
	if redirect := r.GetRedirect(); redirect != nil {
		out.Redirect = asJSON(redirect)
	}
	if direct := r.GetDirectResponse(); direct != nil {
		out.DirectResponse = &Direct{Status: direct.Status, Body: direct.GetBody().GetInlineString()}
	}
	a := r.GetRoute()
	if a == nil {
		return out
	}
	for _, w := range a.GetWeightedClusters().GetClusters() {
		out.Clusters = append(out.Clusters, c.cluster(w.Name, w.GetWeight().GetValue()))
	}
	if name := a.GetCluster(); name != "" {
		out.Clusters = append(out.Clusters, c.cluster(name, 1))
	}
	out.Timeout = duration(a.Timeout)
	if p := a.RetryPolicy; p != nil {
		out.Retries = &Retries{NumRetries: p.GetNumRetries().GetValue(), RetryOn: p.RetryOn, PerTryTimeout: duration(p.PerTryTimeout), StatusCodes: append([]uint32{}, p.RetriableStatusCodes...)}
	}
	if host, prefix, regex := a.GetHostRewriteLiteral(), a.PrefixRewrite, a.RegexRewrite; host != "" || prefix != "" || regex != nil {
		out.Rewrite = &Rewrite{Prefix: text(prefix), Authority: text(host)}
		if regex != nil {
			out.Rewrite.Regex, out.Rewrite.Substitue = &regex.Pattern.Regex, &regex.Substitution
		}
	}
	for _, m := range a.RequestMirrorPolicies {
		out.Mirrors = append(out.Mirrors, Mirror{Cluster: m.Cluster, Percent: percent(m.GetRuntimeFraction().GetDefaultValue())})
	}
	return out
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func duration(d *durationpb.Duration) *string {
	if d == nil {
		return nil
	}
	s := strconv.FormatFloat(d.AsDuration().Seconds(), 'f', -1, 64) + "s"
	return &s
}

func percent(p *xdstype.FractionalPercent) float64 {
	return float64(p.GetNumerator()) * 100 / map[xdstype.FractionalPercent_DenominatorType]float64{
		xdstype.FractionalPercent_HUNDRED: 100, xdstype.FractionalPercent_TEN_THOUSAND: 1e4, xdstype.FractionalPercent_MILLION: 1e6,
	}[p.GetDenominator()]
}

func faultOf(f *fault.HTTPFault) *Fault {
	out := &Fault{}
	if d := f.GetDelay(); d != nil {
		out.Delay = &struct {
			Fixed   string  `json:"fixedDelay"`
			Percent float64 `json:"percent"`
		}{*duration(d.FaultDelaySecifier.(*faultcommon.FaultDelay_FixedDelay).FixedDelay), percent(d.Percentage)}
	}
	if a := f.GetAbort(); a != nil {
		out.Abort = &struct {
			HTTP    *uint32 `json:"httpStatus"`
			GRPC    *uint32 `json:"grpcStatus"`
			Percent float64 `json:"percent"`
		}{Percent: percent(a.Percentage)}
		switch e := a.ErrorType.(type) {
		case *fault.FaultAbort_HttpStatus:
			out.Abort.HTTP = &e.HttpStatus
		case *fault.FaultAbort_GrpcStatus:
			out.Abort.GRPC = &e.GrpcStatus
		}
	}
	return out
}

// asJSON is Envoy's JSON. Its writer varies the white space.
func asJSON(m proto.Message) any {
	written, err := protojson.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("what was read can be written: %v", err))
	}
	var out any
	if err := json.NewDecoder(bytes.NewReader(written)).Decode(&out); err != nil {
		panic(fmt.Sprintf("what was written can be read: %v", err))
	}
	return out
}
