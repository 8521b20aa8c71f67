package world

import (
	"fmt"
	"strings"

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
		if r.From != "" && r.SNI != "" {
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

// Bytes are the request on the wire, HTTP/1.1 or just some bytes.
func (r Request) Bytes(bearer string) string {
	if !r.HTTP {
		return Ping
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Host)
	for _, h := range r.Headers {
		for _, v := range h.Values {
			fmt.Fprintf(&b, "%s: %s\r\n", h.Name, v)
		}
	}
	if r.Forwarded != "" {
		fmt.Fprintf(&b, "X-Forwarded-For: %s\r\n", r.Forwarded)
	}
	if bearer != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", bearer)
	}
	b.WriteString("\r\n")
	return b.String()
}
