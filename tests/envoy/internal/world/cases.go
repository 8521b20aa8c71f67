package world

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"sigs.k8s.io/yaml"
)

// Outcome is what Envoy did with a request.
type Outcome struct {
	Unknown  bool // nobody knows what became of it: no case
	Allowed  bool
	Rule     string // NAMESPACE/NAME/INDEX, or empty
	RemoteIP string // as Envoy sees it
}

// Cases writes the requests and their outcomes as the plugin's test cases.
func (w *World) Cases(outcomes []Outcome, podIP string) ([]byte, error) {
	cases := list{}
	for i, r := range w.Requests {
		o := outcomes[i]
		if o.Unknown {
			continue
		}
		c := object{
			"name": fmt.Sprintf("%s-r%d", w.Name, i), "from": r.From, "to": "target." + Namespace,
			"port": r.Port, "protocol": "tcp", "expect": "deny",
		}
		switch {
		case r.Foreign:
			c["from"] = "deploy/" + stranger + ".foo"
		case r.From == "":
			c["from"] = "anonymous"
		case strings.Count(r.From, "/") == 1:
			// Looks like KIND/NAME of a workload.
			c["from"] = "spiffe://" + r.From
		}
		if o.Allowed {
			c["expect"] = "allow"
		}
		if o.Rule != "" {
			c["rule"] = o.Rule
		}
		request := object{"sourceIP": r.Source}
		if o.RemoteIP != "" {
			request["remoteIP"] = o.RemoteIP
		}
		if r.TLS() && r.SNI != "" {
			request["sni"] = r.SNI
		}
		if w.DestinationIP {
			request["destinationIP"] = podIP
		}
		if r.HTTP {
			c["protocol"] = "http"
			request["method"], request["path"], request["host"] = r.Method, r.Path, r.Host
			headers := object{}
			for _, h := range r.Headers {
				if len(h.Values) == 1 {
					headers[h.Name] = h.Values[0]
				} else {
					headers[h.Name] = h.Values
				}
			}
			if len(headers) > 0 {
				request["headers"] = headers
			}
			if r.Token != nil {
				request["jwt"] = jwt(r.Token)
			}
		}
		c["request"] = request
		cases = append(cases, c)
	}
	return yaml.Marshal(object{"cases": cases})
}

// jwt puts the registered claims beside the others.
func jwt(token map[string]any) object {
	out, claims := object{}, object{}
	for k, v := range token {
		switch k {
		case "iss", "sub", "aud", "azp":
			out[k] = v
		default:
			claims[k] = v
		}
	}
	if len(claims) > 0 {
		out["claims"] = claims
	}
	return out
}

// Ping is what is sent, and comes back, where no HTTP is spoken.
const Ping = "ping\n"

// Bytes are the request on the wire, HTTP or just some bytes.
func (r Request) Bytes(bearer string) string {
	if !r.HTTP {
		return Ping
	}
	var headers []hpack.HeaderField
	add := func(name, value string) { headers = append(headers, hpack.HeaderField{Name: name, Value: value}) }
	for _, h := range r.Headers {
		for _, v := range h.Values {
			add(h.Name, v)
		}
	}
	if r.Forwarded != "" {
		add("X-Forwarded-For", r.Forwarded)
	}
	if bearer != "" {
		add("Authorization", "Bearer "+bearer)
	}
	if r.HTTP2 {
		return r.http2(headers)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Host)
	for _, h := range headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	b.WriteString("\r\n")
	return b.String()
}

// http2 is a connection with the one request.
func (r Request) http2(headers []hpack.HeaderField) string {
	pseudo := []hpack.HeaderField{{Name: ":method", Value: r.Method}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: r.Host}, {Name: ":path", Value: r.Path}}
	var block, connection bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, h := range append(pseudo, headers...) {
		h.Name = strings.ToLower(h.Name) // HTTP/2 has no others
		must(encoder.WriteField(h))
	}
	connection.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&connection, nil)
	must(framer.WriteSettings())
	must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	return connection.String()
}

// must is for writing to memory, which does not fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
