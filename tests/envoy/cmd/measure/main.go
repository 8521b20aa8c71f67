// Command measure asks a real Envoy the questions that neither its
// documentation nor Istio's answers, with hand-written configuration only.
// MEASURED.md holds the results.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/client"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
)

type object = map[string]any
type list = []any

const host = "127.9.0.1"

func main() {
	topic := flag.String("topic", "", "measure only this topic")
	flag.Parse()
	for _, t := range []struct {
		name string
		run  func() error
	}{
		{"path-bytes", pathBytes},
		{"path-normalization", pathNormalization},
		{"template-bytes", templateBytes},
		{"template-shapes", templateShapes},
		{"template-literals", templateLiterals},
		{"headers", headers},
		{"host", hosts},
		{"pseudo", pseudo},
		{"invalid", invalid},
	} {
		if *topic != "" && *topic != t.name {
			continue
		}
		fmt.Printf("\n## %s\n", t.name)
		if err := t.run(); err != nil {
			fmt.Fprintln(os.Stderr, "measure:", err)
			os.Exit(1)
		}
	}
}

// modes are Istio's pathNormalization modes as pilot's listener_builder.go
// maps them to the connection manager.
var modes = []struct {
	name   string
	fields object
}{
	{"NONE", object{"normalize_path": false}},
	{"BASE", object{"normalize_path": true}},
	{"MERGE_SLASHES", object{"normalize_path": true, "merge_slashes": true}},
	{"DECODE_AND_MERGE_SLASHES", object{"normalize_path": true, "merge_slashes": true,
		"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}},
}

// listener is an HTTP listener with one ALLOW policy (or none).
func listener(dir string, port int, mode object, policy object, extra object) json.RawMessage {
	filters := list{}
	if policy != nil {
		filters = append(filters, object{"name": "envoy.filters.http.rbac", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
			"rules": object{"action": "ALLOW", "policies": object{"p": policy}},
		}})
	}
	filters = append(filters, object{"name": "envoy.filters.http.router", "typed_config": object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}})
	hcm := object{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "m", "upgrade_configs": list{object{"upgrade_type": "websocket"}}, "access_log": list{proxy.AccessLog(dir)}, "http_filters": filters,
		"route_config": object{"virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": list{object{
			"match": object{"prefix": "/"}, "direct_response": object{"status": 200}}}}}},
	}
	for k, v := range mode {
		hcm[k] = v
	}
	for k, v := range extra {
		hcm[k] = v
	}
	l, err := json.Marshal(object{
		"name":    strconv.Itoa(port),
		"address": object{"socket_address": object{"address": host, "port_value": port}},
		"filter_chains": list{object{"filters": list{object{
			"name": "hcm", "typed_config": hcm}}}},
	})
	if err != nil {
		panic(err)
	}
	return l
}

func anyPrincipal(permission object) object {
	return object{"permissions": list{permission}, "principals": list{object{"any": true}}}
}

func principal(p object) object {
	return object{"permissions": list{object{"any": true}}, "principals": list{p}}
}

type probe struct {
	port  int
	bytes string
}

type result struct {
	client.Answer
	proxy.Entry
	logged bool
}

// ask starts an Envoy with the listeners and makes all calls.
func ask(build func(dir string) []json.RawMessage, probes []probe) ([]result, map[string]string, error) {
	dir, err := os.MkdirTemp("", "measure")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	envoy, err := proxy.Start(dir, build(dir))
	if err != nil {
		return nil, nil, err
	}
	defer envoy.Stop()
	results := make([]result, len(probes))
	keys := []string{}
	for i, p := range probes {
		if envoy.Refused[strconv.Itoa(p.port)] != "" {
			continue
		}
		answer, err := client.Do(client.Call{Target: fmt.Sprintf("%s:%d", host, p.port), Bytes: p.bytes, HTTP: true})
		if err != nil {
			return nil, nil, fmt.Errorf("%q: %w", p.bytes, err)
		}
		results[i].Answer = answer
		keys = append(keys, answer.Key)
	}
	log, err := envoy.Log(keys, time.Second)
	if err != nil {
		return nil, nil, err
	}
	for i := range results {
		results[i].Entry, results[i].logged = log[results[i].Key]
	}
	return results, envoy.Refused, nil
}

// set writes bytes with runs shortened.
func set(bytes []byte) string {
	var out []string
	for i := 0; i < len(bytes); {
		j := i
		for j+1 < len(bytes) && bytes[j+1] == bytes[j]+1 {
			j++
		}
		quote := func(b byte) string {
			if b > 0x20 && b < 0x7f {
				return string(rune(b))
			}
			return fmt.Sprintf("%02x", b)
		}
		switch {
		case j > i+1:
			out = append(out, quote(bytes[i])+".."+quote(bytes[j]))
		case j > i:
			out = append(out, quote(bytes[i]), quote(bytes[j]))
		default:
			out = append(out, quote(bytes[i]))
		}
		i = j + 1
	}
	return strings.Join(out, " ")
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func seen(r result) string {
	if r.Status == 200 || r.Status == 403 {
		return r.Path
	}
	if r.Status == 0 {
		return "closed"
	}
	return fmt.Sprintf("%d %s", r.Status, r.Details)
}

// pathBytes sends /aXb for every byte X.
func pathBytes() error {
	var probes []probe
	for m := range modes {
		for b := range 256 {
			probes = append(probes, probe{21000 + m, get("/a" + string([]byte{byte(b)}) + "b")})
		}
	}
	results, _, err := ask(func(dir string) (ls []json.RawMessage) {
		for m, mode := range modes {
			ls = append(ls, listener(dir, 21000+m, mode.fields, anyPrincipal(object{"any": true}), nil))
		}
		return ls
	}, probes)
	if err != nil {
		return err
	}
	for m, mode := range modes {
		outcomes := map[string][]byte{}
		for b := range 256 {
			r := results[m*256+b]
			raw := "/a" + string([]byte{byte(b)}) + "b"
			out := seen(r)
			if out == raw {
				out = "kept"
			}
			if b >= 0x80 && out != "kept" && strings.HasPrefix(out, "/") {
				out = "bytes as " + strconv.QuoteToASCII(out)
			}
			outcomes[out] = append(outcomes[out], byte(b))
		}
		for _, out := range slices.Sorted(maps.Keys(outcomes)) {
			fmt.Printf("%s: %s: %s\n", mode.name, out, set(outcomes[out]))
		}
	}
	return nil
}

// pathNormalization prints what comes out of odd paths in every mode.
func pathNormalization() error {
	paths := []string{
		"/", "*", "", "a", "a/b", "//", "///a", "/a//b", "/a/", "/a/.", "/a/..", "/a/./b", "/a/../b", "/..", "/../a", "/../../a",
		"/a/...", "/a/..b", "/a/.b", "/a/b/../../c", "/a//../b", "/a/%2e/b", "/a/%2E/b", "/a/%2e%2e/b", "/a/%2E%2e/b", "/a/.%2e/b", "/a/%2e./b", "/a/..%2fb", "/a/..%2Fb",
		"/a%2e%2e/b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a\\b", "/a\\..\\b", "/a/..\\b", "/a\\\\b", "/a%2f%2fb", "/a%2f/b", "/a/%2f../b", "/a%252fb", "/a%252e", "/a;b", "/a;b=c/../d", "/a/..;/b", "/a/;/b",
		"/%61", "/%41", "/%7e", "/%7E", "/%2d%5f%2D", "/%30", "/%20", "/%3a", "/%3A", "/%2b", "/%40", "/%25", "/%3f", "/%3F", "/%23", "/%7c", "/%22", "/%3d", "/%2a", "/%24%26%2c", "/%21%27%28%29",
		"/%zz", "/%", "/%2", "/%a", "/%g1", "/a%", "/%%61", "/%00", "/a%00b", "/%0a", "/%0d", "/%1f", "/%7f", "/%80", "/%ff", "/%c3%a9", "/%C3%A9", "/%c0%af", "/%e0%80%af", "/%u0041",
		"/a?b", "/a?b/../c", "/a?x=//y", "/a?", "/?", "?a", "/a%3fb", "/a/../b?c=%2e%2e", "/a#b", "#", "/a?b#c", "http://h2/x", "http://h2", "http://h2/a/../b", "HTTP://h2/x", "https://h2/x", "http://h2:81/x", "http://u@h2/x", "//h2/x", "/a:b", "/a@b", "h:80",
		"/a b", "/a\tb", "/\xc3\xa9", "/\xff", "/A", "/a/b/", "/a/b/..", "/a/b/../", "/./a", "/.", "/./", "/.a", "/a.", "/a/.//b", "/a/..//b", "/%2f", "/%2f..", "/..%2f..", "/%5c..", "/..%5ca",
	}
	var probes []probe
	for _, p := range paths {
		for m := range modes {
			probes = append(probes, probe{21000 + m, get(p)})
		}
	}
	for m := range modes {
		probes = append(probes, probe{21000 + m, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"})
	}
	paths = append(paths, "OPTIONS *")
	for m := range modes {
		probes = append(probes, probe{21000 + m, "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"})
	}
	paths = append(paths, "CONNECT h:80")
	results, _, err := ask(func(dir string) (ls []json.RawMessage) {
		for m, mode := range modes {
			ls = append(ls, listener(dir, 21000+m, mode.fields, anyPrincipal(object{"any": true}), nil))
		}
		return ls
	}, probes)
	if err != nil {
		return err
	}
	for i, p := range paths {
		var out [4]string
		for m := range modes {
			r := results[i*len(modes)+m]
			out[m] = strconv.QuoteToASCII(seen(r))
			if r.Authority != "h" && r.logged && r.Status == 200 {
				out[m] += " authority " + r.Authority
			}
		}
		fmt.Printf("%s | %s | %s | %s | %s\n", strconv.QuoteToASCII(p), out[0], out[1], out[2], out[3])
	}
	return nil
}

func template(t string) object {
	return anyPrincipal(object{"uri_template": object{"name": "uri-template", "typed_config": object{
		"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": t}}})
}

// verdict says what Envoy makes of one listener: nothing when it takes it.
// Each is tried alone, because some end the whole process.
func verdict(policy object) (string, error) {
	dir, err := os.MkdirTemp("", "measure")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	envoy, err := proxy.Start(dir, []json.RawMessage{listener(dir, 21000, modes[1].fields, policy, nil)})
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		if why := regexp.MustCompile(`(?:Uncaught|exception)[^\n]*`).FindString(err.Error()); why != "" {
			first += ": " + why
		}
		return "PROCESS ENDS: " + first, nil
	}
	envoy.Stop()
	return envoy.Refused["21000"], nil
}

// templateBytes sends every byte to a glob, without normalisation and with.
func templateBytes() error {
	cases := []struct {
		template, before, after string
		mode                    int
	}{
		{"/t/*", "/t/a", "b", 0}, {"/t/**", "/t/a", "b", 0}, {"/t/*/e", "/t/", "/e", 0}, {"/t/**/e", "/t/", "/e", 0},
		{"/t/*", "/t/a", "b", 1}, {"/t/**", "/t/a", "b", 1},
	}
	var probes []probe
	for c, k := range cases {
		for b := range 256 {
			probes = append(probes, probe{21000 + c, get(k.before + string([]byte{byte(b)}) + k.after)})
		}
	}
	results, _, err := ask(func(dir string) (ls []json.RawMessage) {
		for c, k := range cases {
			ls = append(ls, listener(dir, 21000+c, modes[k.mode].fields, template(k.template), nil))
		}
		return ls
	}, probes)
	if err != nil {
		return err
	}
	for c, k := range cases {
		outcomes := map[string][]byte{}
		for b := range 256 {
			r := results[c*256+b]
			out := fmt.Sprint(r.Status)
			outcomes[out] = append(outcomes[out], byte(b))
		}
		for _, out := range slices.Sorted(maps.Keys(outcomes)) {
			fmt.Printf("%s under %s, %sX%s: %s: %s\n", k.template, modes[k.mode].name, k.before, k.after, out, set(outcomes[out]))
		}
	}
	return nil
}

// templateShapes matches templates against whole paths (BASE).
func templateShapes() error {
	templates := []string{"/*", "/**", "/a/*", "/a/**", "/a/*/c", "/a/**/c", "/*/*", "/*/**", "/a/*/", "/a/**/", "/a/*/b/**", "/a*/b", "/a/b*", "/a/**b", "/a/***", "/a/**/*", "/a/**/b/**", "/a/*/*/d", "*", "**", "a/*", "/a//*", "/a", "/", "/a/{x}", "/a/{x=*}", "/a/{x=**}", "/a/%2a", "/a/*?x", "/a/* ", "/*/*/*/*/*/*", "/A/*"}
	paths := []string{"/", "/a", "/a/", "/a/b", "/a/b/", "/a//", "/a/b/c", "/a//c", "/a/c", "/a/b/x/c", "/a/b//c", "/a/b/c/", "/a/b?x", "/a/?x", "/a%2fb", "/a/b%2fc", "/a/%20", "/a/b/b/", "/a/b/b/c", "/A/b", "//", "/a/x/y/d", "/a/%zz", "/1/2/3/4/5/6"}
	var taken []string
	for _, t := range templates {
		why, err := verdict(template(t))
		if err != nil {
			return err
		}
		if why == "" {
			taken = append(taken, t)
		} else {
			fmt.Printf("%s: %s\n", t, why)
		}
	}
	templates = taken
	var probes []probe
	for t := range templates {
		for _, p := range paths {
			probes = append(probes, probe{21000 + t, get(p)})
		}
	}
	results, refused, err := ask(func(dir string) (ls []json.RawMessage) {
		for t, k := range templates {
			ls = append(ls, listener(dir, 21000+t, modes[1].fields, template(k), nil))
		}
		return ls
	}, probes)
	if err != nil {
		return err
	}
	for t, k := range templates {
		if why := refused[strconv.Itoa(21000+t)]; why != "" {
			fmt.Printf("%s: refused: %s\n", k, why)
			continue
		}
		var yes, no []string
		for i, p := range paths {
			if results[t*len(paths)+i].Status == 200 {
				yes = append(yes, p)
			} else {
				no = append(no, p)
			}
		}
		fmt.Printf("%s: matches %s; not %s\n", k, strings.Join(yes, " "), strings.Join(no, " "))
	}
	return nil
}

// templateLiterals lists which literal bytes Envoy takes in a template.
func templateLiterals() error {
	var taken string
	refused := map[string]string{}
	for b := 0x20; b < 0x7f; b++ {
		why, err := verdict(template("/x" + string(rune(b)) + "y/*"))
		if err != nil {
			return err
		}
		if why == "" {
			taken += string(rune(b))
		} else {
			refused[why] += string(rune(b))
		}
	}
	fmt.Printf("/xCy/* taken: %s\n", taken)
	for why, bytes := range refused {
		fmt.Printf("%s: %s\n", bytes, why)
	}
	for _, t := range []string{"/x\u00e9y/*", "/*/*/*/*/*/*/a", "/x%2fy/*", "/x%zzy/*", "/*/a**", "x/*", "/**/**"} {
		why, err := verdict(template(t))
		if err != nil {
			return err
		}
		fmt.Printf("%s: %q\n", t, why)
	}
	return nil
}

func header(name string, matcher object) object {
	h := object{"name": name}
	for k, v := range matcher {
		h[k] = v
	}
	return principal(object{"header": h})
}

func exact(v string) object  { return object{"string_match": object{"exact": v}} }
func prefix(v string) object { return object{"string_match": object{"prefix": v}} }
func suffix(v string) object { return object{"string_match": object{"suffix": v}} }
func exactFold(v string) object {
	return object{"string_match": object{"exact": v, "ignore_case": true}}
}

var present = object{"present_match": true}

type rule struct {
	name   string
	policy object
}

// matrix prints for every request which rules match.
func matrix(rules []rule, requests []string, extra object) error {
	var probes []probe
	for r := range rules {
		for _, q := range requests {
			probes = append(probes, probe{21000 + r, q})
		}
	}
	results, refused, err := ask(func(dir string) (ls []json.RawMessage) {
		for r, k := range rules {
			ls = append(ls, listener(dir, 21000+r, modes[1].fields, k.policy, extra))
		}
		return ls
	}, probes)
	if err != nil {
		return err
	}
	for r, k := range rules {
		if why := refused[strconv.Itoa(21000+r)]; why != "" {
			fmt.Printf("rule %s: refused: %s\n", k.name, why)
		}
	}
	for i, q := range requests {
		var yes, odd []string
		for r, k := range rules {
			if refused[strconv.Itoa(21000+r)] != "" {
				continue
			}
			switch result := results[r*len(requests)+i]; result.Status {
			case 200:
				yes = append(yes, k.name)
			case 403:
			default:
				odd = append(odd, fmt.Sprintf("%d %s", result.Status, result.Details))
			}
		}
		line := "matches " + strings.Join(yes, ", ")
		if len(odd) > 0 {
			line = odd[0]
		}
		fmt.Printf("%q: %s\n", q, line)
	}
	return nil
}

func headers() error {
	q := func(lines ...string) string {
		return "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	not := func(name string, m object) object {
		h := object{"name": name}
		for k, v := range m {
			h[k] = v
		}
		return principal(object{"not_id": object{"header": h}})
	}
	return matrix([]rule{
		{"=v", header("x-a", exact("v"))}, {"=V", header("x-a", exact("V"))}, {"=v1,v2", header("x-a", exact("v1,v2"))}, {"=v1", header("x-a", exact("v1"))}, {"=v2", header("x-a", exact("v2"))},
		{"v*", header("x-a", prefix("v"))}, {"*2", header("x-a", suffix("2"))}, {"*", header("x-a", present)}, {"=empty", header("x-a", exact(""))},
		{"not =v1", not("x-a", exact("v1"))}, {"not *", not("x-a", present)}, {"not =empty", not("x-a", exact(""))},
		{"name X-A =v", header("X-A", exact("v"))}, {"=a b", header("x-a", exact("a b"))}, {"='v '", header("x-a", exact("v "))}, {"cookie =a=1", header("cookie", exact("a=1"))}, {"cookie =a=1; b=2", header("cookie", exact("a=1; b=2"))},
	}, []string{
		q(), q("x-a: v"), q("X-A: v"), q("x-a: V"), q("x-a:"), q("x-a:   "), q("x-a: v1", "x-a: v2"), q("x-a: v2", "x-a: v1"), q("x-a: v1,v2"), q("x-a: v1, v2"), q("x-a:", "x-a: v1"), q("x-a: v  "), q("x-a: a b"),
		q("x-a: \xff"), q("cookie: a=1", "cookie: b=2"), q("x-a: v\tw"), q("x_a: v"), q("x-a: v\x01"),
	}, nil)
}

func hosts() error {
	q := func(lines ...string) string {
		return "GET / HTTP/1.1\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	return matrix([]rule{
		{":authority fold =h.app", header(":authority", exactFold("h.app"))}, {":authority fold =H.APP", header(":authority", exactFold("H.APP"))},
		{":authority fold prefix h.app", header(":authority", object{"string_match": object{"prefix": "h.app", "ignore_case": true}})},
		{":authority fold suffix .app", header(":authority", object{"string_match": object{"suffix": ".app", "ignore_case": true}})},
		{":authority *", header(":authority", present)}, {":authority =h.app", header(":authority", exact("h.app"))}, {":authority =empty", header(":authority", exact(""))},
		{"host =h.app", header("host", exact("h.app"))}, {"host *", header("host", present)}, {"Host =h.app", header("Host", exact("h.app"))},
	}, []string{
		q("Host: h.app"), q("Host: H.App"), q("Host: h.app:80"), q("Host: h.app:8080"), q("Host: h.app."), q("Host: h.app.:80"), q("Host:"), q(), q("Host: h.app", "Host: other"), q("Host: other", "Host: h.app"), q("Host: h.app,other"), q("Host:  h.app "), q("Host: h_app"), q("Host: h/app"), q("Host: h app"), q("Host: h@app"), q("Host: \xc3\xa9"), q("Host: [::1]:80"),
		"GET http://h.app/x HTTP/1.1\r\nHost: other\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost: h.app\r\n\r\n", "GET http://h.app/x HTTP/1.1\r\n\r\n",
	}, nil)
}

func pseudo() error {
	q := func(line string, lines ...string) string {
		return line + " HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	url := func(m object) object { return anyPrincipal(object{"url_path": object{"path": m}}) }
	return matrix([]rule{
		{":path =/x", header(":path", exact("/x"))}, {":path =/x?q", header(":path", exact("/x?q"))}, {":path prefix /x", header(":path", prefix("/x"))}, {"url_path =/x", url(object{"exact": "/x"})}, {"url_path =/", url(object{"exact": "/"})}, {"url_path regex .+", url(object{"safe_regex": object{"regex": ".+"}})},
		{"url_path =empty", url(object{"exact": ""})}, {"url_path =*", url(object{"exact": "*"})}, {"url_path prefix /", url(object{"prefix": "/"})},
		{":method =GET", header(":method", exact("GET"))}, {":method =get", header(":method", exact("get"))}, {":method *", header(":method", present)}, {":scheme =http", header(":scheme", exact("http"))}, {":scheme *", header(":scheme", present)}, {"method =GET", header("method", exact("GET"))},
		{"x-envoy-original-path *", header("x-envoy-original-path", present)}, {"x-request-id *", header("x-request-id", present)}, {"x-forwarded-for *", header("x-forwarded-for", present)}, {"x-forwarded-proto *", header("x-forwarded-proto", present)}, {"x-envoy-internal *", header("x-envoy-internal", present)}, {"connection *", header("connection", present)}, {"te *", header("te", present)}, {"upgrade *", header("upgrade", present)}, {"content-length *", header("content-length", present)}, {"transfer-encoding *", header("transfer-encoding", present)}, {"user-agent *", header("user-agent", present)}, {"x-envoy-external-address *", header("x-envoy-external-address", present)}, {"x-envoy-max-retries *", header("x-envoy-max-retries", present)}, {"keep-alive *", header("keep-alive", present)}, {"proxy-connection *", header("proxy-connection", present)},
	}, []string{
		q("GET /x"), q("GET /x?q"), q("get /x"), q("FOO /x"), q("GET /a/../x"), q("OPTIONS *"), q("GET *"), q("GET /?q"), q("GET http://h"), q("GET /x", "connection: close, x-a", "te: trailers", "keep-alive: 5", "proxy-connection: close"), q("GET /x", "connection: upgrade", "upgrade: websocket"), q("GET /x", "content-length: 0", "x-forwarded-for: 1.2.3.4", "x-envoy-internal: true", "x-request-id: a", "x-envoy-external-address: 1.2.3.4", "x-envoy-max-retries: 1", "x-forwarded-proto: https"), q("POST /x", "transfer-encoding: chunked", "", "0", ""),
		q("HEAD /x"), q("CONNECT /x"), q("CONNECT h:80"), q("TRACE /x"),
	}, object{"use_remote_address": false})
}

// invalid lists which RBAC rules Envoy refuses.
func invalid() error {
	port := func(p int) object { return anyPrincipal(object{"destination_port": p}) }
	rules := []rule{
		{"port 0", port(0)}, {"port 65535", port(65535)}, {"port 65536", port(65536)},
		{"prefix empty", header("x-a", prefix(""))}, {"suffix empty", header("x-a", suffix(""))}, {"exact empty", header("x-a", exact(""))},
		{"header name empty", header("", exact("a"))}, {"header name with space", header("x a", exact("a"))}, {"header name ]", header("x]", exact("a"))}, {"header name :foo", header(":foo", exact("a"))}, {"header value LF", header("x-a", exact("a\nb"))},
		{"bad regex", principal(object{"authenticated": object{"principal_name": object{"safe_regex": object{"regex": "a["}}}})},
		{"sni exact empty", anyPrincipal(object{"requested_server_name": exact("")["string_match"]})},
		{"path exact empty", anyPrincipal(object{"url_path": object{"path": object{"exact": ""}}})},
		{"and_rules empty", anyPrincipal(object{"and_rules": object{"rules": list{}}})}, {"or_ids empty", principal(object{"or_ids": object{"ids": list{}}})},
		{"no permissions", object{"permissions": list{}, "principals": list{object{"any": true}}}},
		{"cidr 33", principal(object{"direct_remote_ip": object{"address_prefix": "10.0.0.0", "prefix_len": 33}})},
		{"cidr host bits", principal(object{"direct_remote_ip": object{"address_prefix": "127.0.0.77", "prefix_len": 24}})},
		{"cidr bad address", principal(object{"direct_remote_ip": object{"address_prefix": "x", "prefix_len": 8}})},
		{"cidr v4 in v6", principal(object{"direct_remote_ip": object{"address_prefix": "::ffff:127.0.0.1", "prefix_len": 128}})},
		{"metadata path empty", principal(object{"metadata": object{"filter": "f", "path": list{}, "value": object{"present_match": true}}})},
		{"metadata key empty", principal(object{"metadata": object{"filter": "f", "path": list{object{"key": ""}}, "value": object{"present_match": true}}})},
	}
	var taken []rule
	for _, r := range rules {
		why, err := verdict(r.policy)
		if err != nil {
			return err
		}
		if why == "" {
			taken = append(taken, r)
		} else {
			fmt.Printf("%s: %s\n", r.name, why)
		}
	}
	return matrix(taken, []string{get("/"), "GET / HTTP/1.1\r\nHost: h\r\nx-a:\r\n\r\n"}, nil)
}
