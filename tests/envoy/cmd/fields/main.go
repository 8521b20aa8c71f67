// Command fields shows which requests a single condition matches, with the
// configuration that Istio makes of it. MEASURED.md holds the results.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"istio.io/istio/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/client"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/identity"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istio"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/sidecar"
)

type object = map[string]any
type list = []any

const (
	httpPort = 8080
	tcpPort  = 9090
	// peer is who calls over mTLS.
	peer = "cluster.local/ns/foo/sa/bar"
)

func main() {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	topic := flag.String("topic", "", "show only this topic")
	flag.Parse()
	for _, t := range []struct {
		name string
		run  func() error
	}{{"jwt", tokens}, {"tokens", refusedTokens}, {"mTLS", mtls}, {"degraded", degraded}, {"updates", updates}} {
		if *topic != "" && *topic != t.name {
			continue
		}
		fmt.Printf("\n## %s\n", t.name)
		if err := t.run(); err != nil {
			fmt.Fprintln(os.Stderr, "fields:", err)
			os.Exit(1)
		}
	}
}

// policy is a spec in YAML, short.
func policy(spec string) object {
	var value object
	if err := yaml.Unmarshal([]byte(spec), &value); err != nil {
		panic(fmt.Sprintf("%s: %v", spec, err))
	}
	return object{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": object{"name": "p", "namespace": "app"}, "spec": value}
}

func mustYAML(o object) string {
	text, err := yaml.Marshal(o)
	if err != nil {
		panic(err) // plain maps, lists and strings
	}
	return string(text)
}

func requestAuthentication(rules ...object) object {
	var jwtRules list
	for _, r := range rules {
		r["jwks"] = identity.JWKS()
		jwtRules = append(jwtRules, r)
	}
	return object{"apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication", "metadata": object{"name": "jwt", "namespace": "app"}, "spec": object{"jwtRules": jwtRules}}
}

type call struct {
	name, bytes string
	anonymous   bool
	sni         string
	tcp         bool
}

// ask has one Envoy for many sets of objects and gives, for each set, each
// call's outcome: "yes", or what Envoy says.
func ask(sets [][]object, calls []call) ([][]string, error) {
	dir, err := os.MkdirTemp("", "fields")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	authority, err := identity.NewAuthority()
	if err != nil {
		return nil, err
	}
	cert, err := authority.Certificate(peer)
	if err != nil {
		return nil, err
	}
	chain, key, err := identity.PEMs(cert)
	if err != nil {
		return nil, err
	}
	var all []json.RawMessage
	for i, set := range sets {
		var manifests []string
		for _, o := range set {
			manifests = append(manifests, mustYAML(o))
		}
		config, err := istio.Build([]byte(strings.Join(manifests, "---\n")), istio.Workload{Namespace: "app"}, []uint32{httpPort, tcpPort})
		if err != nil {
			return nil, err
		}
		ls, err := sidecar.Listeners(dir, fmt.Sprint(i), address(i), httpPort, tcpPort, config, sidecar.ServerTLS{Cert: chain, Key: key, Root: authority.PEM})
		if err != nil {
			return nil, err
		}
		all = append(all, ls...)
	}
	envoy, err := proxy.Start(dir, all)
	if err != nil {
		return nil, err
	}
	defer envoy.Stop()
	out := make([][]string, len(sets))
	keys := make([][]string, len(sets))
	var wanted []string
	for i := range sets {
		out[i], keys[i] = make([]string, len(calls)), make([]string, len(calls))
		for j, c := range calls {
			k := client.Call{Target: fmt.Sprintf("%s:%d", address(i), httpPort), Bytes: c.bytes, HTTP: true}
			alpn := append([]string{}, sidecar.HTTPALPN...)
			if c.tcp {
				k = client.Call{Target: fmt.Sprintf("%s:%d", address(i), tcpPort), Bytes: "ping\n"}
				alpn = sidecar.TCPALPN
			}
			if !c.anonymous {
				k.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, NextProtos: alpn, ServerName: c.sni}
			}
			answer, err := client.Do(k)
			if err != nil {
				return nil, err
			}
			keys[i][j] = answer.Key
			wanted = append(wanted, answer.Key)
			out[i][j] = fmt.Sprint(answer.Status)
			if answer.Status == 200 || answer.Body == "ping\n" {
				out[i][j] = "yes"
			}
		}
	}
	log, err := envoy.Log(wanted, time.Second)
	if err != nil {
		return nil, err
	}
	for i := range sets {
		for why := range envoy.Refused {
			if strings.HasPrefix(why, fmt.Sprint(i)+"-") {
				return nil, fmt.Errorf("set %d refused: %s", i, envoy.Refused[why])
			}
		}
		for j := range calls {
			if entry := log[keys[i][j]]; out[i][j] != "yes" {
				out[i][j] = strings.TrimSpace(out[i][j] + " " + entry.Details + entry.Closed)
			}
		}
	}
	return out, nil
}

func address(i int) string { return fmt.Sprintf("127.8.%d.%d", i/200, 1+i%200) }

func get(headers ...string) string {
	return "GET / HTTP/1.1\r\n" + strings.Join(append(append([]string{"Host: h"}, headers...), "", ""), "\r\n")
}

func bearer(claims object) string {
	token, err := identity.Token(claims)
	if err != nil {
		panic(err)
	}
	return "Authorization: Bearer " + token
}

func tokens() error {
	conditions := []string{
		`from: [{source: {requestPrincipals: ["*"]}}]`, `from: [{source: {notRequestPrincipals: ["*"]}}]`, `from: [{source: {requestPrincipals: ["iss/*"]}}]`, `from: [{source: {requestPrincipals: ["iss"]}}]`, `from: [{source: {requestPrincipals: ["iss/"]}}]`, `from: [{source: {requestPrincipals: ["iss*"]}}]`,
		`from: [{source: {requestPrincipals: ["iss/a/b"]}}]`, `from: [{source: {requestPrincipals: ["*b"]}}]`, `from: [{source: {requestPrincipals: ["iss/sub"]}}]`,
		`when: [{key: "request.auth.principal", values: ["iss/sub"]}]`,
		`when: [{key: "request.auth.audiences", values: ["a1"]}]`, `when: [{key: "request.auth.audiences", values: ["*"]}]`, `when: [{key: "request.auth.audiences", notValues: ["a1"]}]`, `when: [{key: "request.auth.audiences", values: ["a1,a2"]}]`,
		`when: [{key: "request.auth.presenter", values: ["z"]}]`,
		`when: [{key: "request.auth.claims[group]", values: ["admin"]}]`, `when: [{key: "request.auth.claims[group]", values: ["*"]}]`, `when: [{key: "request.auth.claims[group]", notValues: ["admin"]}]`, `when: [{key: "request.auth.claims[group]", values: [""]}]`, `when: [{key: "request.auth.claims[group]", values: ["1"]}]`, `when: [{key: "request.auth.claims[group]", values: ["true"]}]`,
		`when: [{key: "request.auth.claims[scope]", values: ["read"]}]`, `when: [{key: "request.auth.claims[scope]", values: ["read write"]}]`, `when: [{key: "request.auth.claims[scope]", values: ["read*"]}]`, `when: [{key: "request.auth.claims[permission]", values: ["read"]}]`, `when: [{key: "request.auth.claims[words]", values: ["read"]}]`, `when: [{key: "request.auth.claims[words]", values: ["read write"]}]`,
		`when: [{key: "request.auth.claims[n][scope]", values: ["read"]}]`, `when: [{key: "request.auth.claims[n][scope]", values: ["read write"]}]`,
		`when: [{key: "request.auth.claims[n][a]", values: ["x"]}]`, `when: [{key: "request.auth.claims[n]", values: ["x"]}]`, `when: [{key: "request.auth.claims[n]", values: ["*"]}]`, `when: [{key: "request.auth.claims[a.b]", values: ["x"]}]`, `when: [{key: "request.auth.claims[[a]]", values: ["x"]}]`,
		`when: [{key: "request.auth.claims[iss]", values: ["iss"]}]`, `when: [{key: "request.auth.claims[exp]", values: ["*"]}]`, `when: [{key: "request.auth.claims[aud]", values: ["a1"]}]`, `when: [{key: "request.auth.claims[sub]", values: ["sub"]}]`,
		`when: [{key: "request.headers[authorization]", values: ["*"]}]`,
	}
	claims := []object{
		nil, {"iss": "iss", "sub": "sub"}, {"iss": "iss"}, {"iss": "iss", "sub": ""}, {"iss": "iss", "sub": "a/b"}, {"iss": "iss/a", "sub": "b"}, {"iss": "iss", "sub": 1},
		{"iss": "iss", "sub": "s", "aud": "a1"}, {"iss": "iss", "sub": "s", "aud": list{"a1", "a2"}}, {"iss": "iss", "sub": "s", "aud": list{"a2"}}, {"iss": "iss", "sub": "s", "aud": list{}}, {"iss": "iss", "sub": "s", "aud": ""}, {"iss": "iss", "sub": "s", "azp": "z"}, {"iss": "iss", "sub": "s", "azp": list{"z"}},
		{"iss": "iss", "group": "admin"}, {"iss": "iss", "group": list{"x", "admin"}}, {"iss": "iss", "group": list{}}, {"iss": "iss", "group": ""}, {"iss": "iss", "group": 1}, {"iss": "iss", "group": true}, {"iss": "iss", "group": list{1, "admin", true}}, {"iss": "iss", "group": object{"a": "admin"}}, {"iss": "iss", "group": nil}, {"iss": "iss", "group": list{list{"admin"}}},
		{"iss": "iss", "scope": "read write"}, {"iss": "iss", "scope": "read  write "}, {"iss": "iss", "scope": "read"}, {"iss": "iss", "scope": ""}, {"iss": "iss", "scope": list{"read write"}}, {"iss": "iss", "permission": "read x"}, {"iss": "iss", "words": "read write"}, {"iss": "iss", "n": object{"scope": "read write"}},
		{"iss": "iss", "n": object{"a": "x"}}, {"iss": "iss", "n": object{"a": list{"x"}}}, {"iss": "iss", "n": list{object{"a": "x"}}}, {"iss": "iss", "n": "x"}, {"iss": "iss", "a.b": "x"}, {"iss": "iss", "a": object{"b": "x"}}, {"iss": "iss", "[a]": "x"},
	}
	var sets [][]object
	for _, c := range conditions {
		sets = append(sets, []object{policy(fmt.Sprintf("rules: [{%s}]", c)), requestAuthentication(object{"issuer": "iss"}, object{"issuer": "iss/a"})})
	}
	var calls []call
	for _, c := range claims {
		name, headers := "no token", []string{}
		if c != nil {
			text, err := json.Marshal(c)
			if err != nil {
				return err
			}
			name, headers = string(text), []string{bearer(c)}
		}
		calls = append(calls, call{name: name, bytes: get(headers...)})
	}
	out, err := ask(sets, calls)
	if err != nil {
		return err
	}
	for j, c := range calls {
		var yes []string
		odd := ""
		for i, condition := range conditions {
			switch o := out[i][j]; {
			case o == "yes":
				yes = append(yes, short(condition))
			case !strings.HasPrefix(o, "403 rbac"):
				odd = o
			}
		}
		fmt.Printf("%s: %s%s\n", c.name, odd, strings.Join(yes, " | "))
	}
	return nil
}

func short(condition string) string {
	return strings.NewReplacer("from: [{source: {", "", "}}]", "", "when: [{key: ", "", "}]", "", "request.auth.", "", `"`, "", "values: ", "= ", "notValues: ", "!= ", ",", "").Replace(condition)
}

func refusedTokens() error {
	valid := bearer(object{"iss": "iss", "sub": "sub", "aud": "a1"})
	raw := strings.TrimPrefix(valid, "Authorization: Bearer ")
	parts := strings.Split(raw, ".")
	sets := [][]object{
		{requestAuthentication(object{"issuer": "iss"})},
		{requestAuthentication(object{"issuer": "iss", "audiences": list{"a1"}})},
		{requestAuthentication(object{"issuer": "iss", "audiences": list{"a2"}})},
		{requestAuthentication(object{"issuer": "iss"}, object{"issuer": "other"})},
		{requestAuthentication(object{"issuer": "iss", "fromHeaders": list{object{"name": "x-jwt"}}})},
		{requestAuthentication(object{"issuer": "iss"}), policy(`rules: [{when: [{key: "request.headers[authorization]", values: ["*"]}]}]`)},
		{requestAuthentication(object{"issuer": "iss", "forwardOriginalToken": true}), policy(`rules: [{when: [{key: "request.headers[authorization]", values: ["*"]}]}]`)},
		{policy(`rules: [{when: [{key: "request.headers[authorization]", values: ["*"]}]}]`)},
	}
	names := []string{"iss", "iss aud a1", "iss aud a2", "iss, other", "iss from x-jwt", "iss; allow authorization header present", "iss forward; allow authorization header present", "none; allow authorization header present"}
	calls := []call{
		{name: "none", bytes: get()}, {name: "valid", bytes: get(valid)}, {name: "bad signature", bytes: get("Authorization: Bearer " + parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86))},
		{name: "unknown issuer", bytes: get(bearer(object{"iss": "nobody"}))}, {name: "no issuer", bytes: get(bearer(object{"sub": "s"}))}, {name: "expired", bytes: get(bearer(object{"iss": "iss", "exp": 1000}))}, {name: "not yet", bytes: get(bearer(object{"iss": "iss", "nbf": 4102444799}))},
		{name: "garbage", bytes: get("Authorization: Bearer x.y.z")}, {name: "Bearer of no JWT", bytes: get("Authorization: Bearer opaque")}, {name: "lower-case bearer", bytes: get(strings.Replace(valid, "Bearer", "bearer", 1))}, {name: "Basic", bytes: get("Authorization: Basic eDp5")}, {name: "empty", bytes: get("Authorization:")},
		{name: "two tokens, valid and bad", bytes: get(valid, "Authorization: Bearer x.y.z")}, {name: "access_token parameter", bytes: strings.Replace(get(), "GET / ", "GET /?access_token="+raw+" ", 1)}, {name: "preflight with bad", bytes: strings.Replace(get("Authorization: Bearer x.y.z", "Origin: o", "Access-Control-Request-Method: GET"), "GET", "OPTIONS", 1)},
	}
	out, err := ask(sets, calls)
	if err != nil {
		return err
	}
	for i, n := range names {
		for j, c := range calls {
			fmt.Printf("%s: %s: %s\n", n, c.name, out[i][j])
		}
	}
	return nil
}

func mtls() error {
	conditions := []string{
		`to: [{operation: {ports: ["8080"]}}]`, `to: [{operation: {ports: ["9090"]}}]`, `when: [{key: connection.sni, values: ["a.example"]}]`, `when: [{key: connection.sni, values: ["A.Example"]}]`, `when: [{key: connection.sni, values: ["*"]}]`, `when: [{key: connection.sni, values: [""]}]`, `when: [{key: connection.sni, notValues: ["a.example"]}]`,
		`when: [{key: "request.headers[x-forwarded-client-cert]", values: ["*"]}]`, `when: [{key: "request.headers[x-request-id]", values: ["*"]}]`,
		`from: [{source: {principals: ["*"]}}]`, `from: [{source: {notPrincipals: ["*"]}}]`, `from: [{source: {namespaces: ["*"]}}]`, `from: [{source: {notNamespaces: ["other"]}}]`,
		`from: [{source: {ipBlocks: ["127.0.0.1"]}}]`, `from: [{source: {remoteIpBlocks: ["127.0.0.1"]}}]`, `from: [{source: {remoteIpBlocks: ["10.0.0.0/8"]}}]`, `from: [{source: {remoteIpBlocks: ["2001:db8::/32"]}}]`, `from: [{source: {ipBlocks: ["::/0"]}}]`, `from: [{source: {ipBlocks: ["0.0.0.0/0"]}}]`,
	}
	var sets [][]object
	for _, c := range conditions {
		sets = append(sets, []object{policy(fmt.Sprintf("rules: [{%s}]", c))})
	}
	calls := []call{
		{name: "plaintext", bytes: get(), anonymous: true}, {name: "mTLS, no SNI", bytes: get()}, {name: "mTLS, SNI a.example", bytes: get(), sni: "a.example"}, {name: "mTLS, SNI A.Example", bytes: get(), sni: "A.Example"},
		{name: "plaintext, client's own x-forwarded-client-cert", bytes: get("x-forwarded-client-cert: URI=spiffe://a"), anonymous: true},
		{name: "XFF 10.1.2.3", bytes: get("x-forwarded-for: 10.1.2.3")}, {name: "XFF 10.1.2.3, 1.1.1.1", bytes: get("x-forwarded-for: 10.1.2.3, 1.1.1.1")}, {name: "XFF 1.1.1.1,10.1.2.3", bytes: get("x-forwarded-for: 1.1.1.1,10.1.2.3")}, {name: "XFF twice 1.1.1.1 10.1.2.3", bytes: get("x-forwarded-for: 1.1.1.1", "x-forwarded-for: 10.1.2.3")}, {name: "XFF unknown", bytes: get("x-forwarded-for: unknown")}, {name: "XFF 10.1.2.3:80", bytes: get("x-forwarded-for: 10.1.2.3:80")}, {name: "XFF trailing comma", bytes: get("x-forwarded-for: 10.1.2.3, ")}, {name: "XFF empty", bytes: get("x-forwarded-for:")}, {name: "XFF v6", bytes: get("x-forwarded-for: 2001:db8::1")}, {name: "XFF [v6]", bytes: get("x-forwarded-for: [2001:db8::1]")},
		{name: "TCP mTLS", tcp: true}, {name: "TCP plaintext", tcp: true, anonymous: true}, {name: "TCP mTLS SNI a.example", tcp: true, sni: "a.example"},
	}
	out, err := ask(sets, calls)
	if err != nil {
		return err
	}
	for j, c := range calls {
		var yes []string
		for i, condition := range conditions {
			if out[i][j] == "yes" {
				yes = append(yes, short(condition))
			}
		}
		fmt.Printf("%s: %s\n", c.name, strings.Join(yes, " | "))
	}
	return nil
}

// degraded prints what becomes of rules that Istio drops in whole or in part.
func degraded() error {
	specs := []string{
		`{}`, `rules: []`, `rules: [{}]`, `{action: DENY}`, `{action: DENY, rules: [{}]}`, `{action: AUDIT, rules: [{}]}`,
		`rules: [{from: [{source: {}}]}]`, `rules: [{to: [{operation: {}}]}]`,
		`rules: [{when: [{key: nonsense, values: [a]}]}]`, `{action: DENY, rules: [{when: [{key: nonsense, values: [a]}]}]}`, `{action: DENY, rules: [{to: [{operation: {ports: ["8080", "9090"]}}], when: [{key: nonsense, values: [a]}]}]}`,
		`rules: [{when: [{key: "request.headers[x", values: [a]}]}]`, `{action: DENY, rules: [{when: [{key: "request.headers[x", values: [a]}]}]}`, `{action: DENY, rules: [{when: [{key: "request.auth.claims", values: [a]}]}]}`,
		`rules: [{to: [{operation: {ports: [bad]}}]}]`, `{action: DENY, rules: [{to: [{operation: {ports: [bad]}}]}]}`, `{action: DENY, rules: [{to: [{operation: {ports: [bad, "80"]}}]}]}`, `{action: DENY, rules: [{to: [{operation: {notPorts: [bad]}}]}]}`,
		`rules: [{from: [{source: {ipBlocks: [bad, 127.0.0.1]}}]}]`, `{action: DENY, rules: [{from: [{source: {ipBlocks: [bad]}}]}]}`, `{action: DENY, rules: [{from: [{source: {ipBlocks: [bad, 10.0.0.1]}}]}]}`, `{action: DENY, rules: [{from: [{source: {notIpBlocks: [bad]}}]}]}`,
		`rules: [{to: [{operation: {methods: [GET], ports: ["9090"]}}]}]`, `rules: [{to: [{operation: {methods: [GET]}}, {operation: {ports: ["9090"]}}]}]`, `{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}`, `{action: DENY, rules: [{to: [{operation: {methods: [POST]}}], from: [{source: {namespaces: [other]}}]}]}`,
		`{action: DENY, rules: [{to: [{operation: {paths: [/x], ports: ["80"]}}, {operation: {hosts: [x]}}]}]}`, `{action: DENY, rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]}`, `{action: DENY, rules: [{to: [{operation: {notMethods: [GET], ports: ["80"]}}]}]}`, `{action: AUDIT, rules: [{to: [{operation: {methods: [GET]}}]}]}`,
		`rules: [{when: [{key: source.namespace}]}]`, `rules: [{to: [{operation: {paths: [""]}}]}]`, `{action: DENY, rules: [{from: [{source: {namespaces: [""]}}]}]}`,
	}
	var sets [][]object
	for _, s := range specs {
		sets = append(sets, []object{policy(s)})
	}
	out, err := ask(sets, []call{{bytes: get()}, {tcp: true}})
	if err != nil {
		return err
	}
	for i, s := range specs {
		fmt.Printf("%s: HTTP %s; TCP %s\n", s, out[i][0], out[i][1])
	}
	return nil
}
