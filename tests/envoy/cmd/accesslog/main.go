// Command accesslog lets a real Envoy with Istio's filters refuse what can be
// refused, and writes its access log in Istio's two formats.
//
//	accesslog MANIFESTS OUTDIR
//
// The manifests are those of the bank (plugins/authz/tests/fixtures/access-log);
// OUTDIR gets bank.log and bank.json.log.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/log"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/client"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/identity"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istio"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/sidecar"
)

type object = map[string]any
type list = []any

// The bank's addresses and ports.
const (
	ledger, teller, auditor, printer = "127.9.1.1", "127.9.1.2", "127.9.1.3", "127.9.1.4"
	application                      = "127.9.1.9:18080"
	httpPort, tcpPort                = 8080, 9000
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: accesslog MANIFESTS OUTDIR")
		os.Exit(2)
	}
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "accesslog:", err)
		os.Exit(1)
	}
}

func run(manifests, out string) error {
	text, err := os.ReadFile(manifests)
	if err != nil {
		return err
	}
	// The public half of the tokens' key is made here, not kept.
	text = bytes.Replace(text, []byte(`{"keys":[]}`), []byte(identity.JWKS()), 1)
	config, err := istio.Build(text, istio.Workload{Namespace: "bank", Labels: map[string]string{"app": "ledger"}},
		[]uint32{httpPort, tcpPort})
	if err != nil {
		return err
	}
	authority, err := identity.NewAuthority()
	if err != nil {
		return err
	}
	certificate, err := authority.Certificate("cluster.local/ns/bank/sa/ledger")
	if err != nil {
		return err
	}
	chain, key, err := identity.PEMs(certificate)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "accesslog")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made, err := sidecar.Listeners(dir, "ledger", ledger, httpPort, tcpPort, config,
		sidecar.ServerTLS{Cert: chain, Key: key, Root: authority.PEM})
	if err != nil {
		return err
	}
	logs, err := accessLogs(dir)
	if err != nil {
		return err
	}
	var listeners []json.RawMessage
	for i, l := range made {
		adapted, err := adapt(l, logs, fmt.Sprintf("inbound|%d||", []int{httpPort, tcpPort}[i]))
		if err != nil {
			return err
		}
		listeners = append(listeners, adapted)
	}
	stop, err := serve()
	if err != nil {
		return err
	}
	defer stop()
	envoy, err := proxy.Start(dir, listeners, cluster(httpPort), cluster(tcpPort))
	if err != nil {
		return err
	}
	defer envoy.Stop()
	if len(envoy.Refused) > 0 {
		return fmt.Errorf("envoy refused listeners: %v", envoy.Refused)
	}
	if err := calls(authority); err != nil {
		return err
	}
	time.Sleep(time.Second) // the log is flushed every 20 ms
	for _, name := range []string{"bank.log", "bank.json.log"} {
		lines, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name), lines, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// accessLogs are file loggers with Istio's formats, word for word.
func accessLogs(dir string) (list, error) {
	fields, err := protojson.Marshal(model.EnvoyJSONLogFormatIstio)
	if err != nil {
		return nil, err
	}
	logger := func(name string, format object) object {
		return object{"name": "file", "typed_config": object{
			"@type":      "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
			"path":       filepath.Join(dir, name),
			"log_format": format,
		}}
	}
	return list{
		logger("bank.log", object{"text_format_source": object{"inline_string": model.EnvoyTextLogFormat}}),
		logger("bank.json.log", object{"json_format": json.RawMessage(fields)}),
	}, nil
}

// adapt gives a listener Istio's access logs and the application behind it. As
// in pilot/pkg/networking/core/accesslog.go the listener itself logs only
// connections that no filter chain takes.
func adapt(listener json.RawMessage, logs list, cluster string) (json.RawMessage, error) {
	var l object
	if err := json.Unmarshal(listener, &l); err != nil {
		return nil, err
	}
	var unmatched list
	for _, entry := range logs {
		copied := object{"filter": object{"response_flag_filter": object{"flags": list{"NR"}}}}
		for k, v := range entry.(object) {
			copied[k] = v
		}
		unmatched = append(unmatched, copied)
	}
	l["access_log"] = unmatched
	for _, chain := range l["filter_chains"].(list) {
		filters := chain.(object)["filters"].(list)
		last := filters[len(filters)-1].(object)
		if last["name"] == "echo" {
			filters[len(filters)-1] = object{"name": "tcp", "typed_config": object{
				"@type":       "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
				"stat_prefix": cluster, "cluster": cluster, "access_log": logs,
			}}
			continue
		}
		hcm := last["typed_config"].(object)
		hcm["access_log"] = logs
		hcm["route_config"] = object{"virtual_hosts": list{object{"name": "inbound|http|80", "domains": list{"*"}, "routes": list{
			object{"name": "default", "match": object{"prefix": "/"}, "route": object{"cluster": cluster}}}}}}
	}
	return json.Marshal(l)
}

func cluster(port int) json.RawMessage {
	host, number, _ := strings.Cut(application, ":")
	text, _ := json.Marshal(object{
		"name": fmt.Sprintf("inbound|%d||", port), "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": object{"cluster_name": "application", "endpoints": list{object{"lb_endpoints": list{object{
			"endpoint": object{"address": object{"socket_address": object{"address": host, "port_value": json.Number(number)}}}}}}}},
	})
	return text
}

// serve is the application: it has a mind of its own about /private.
func serve() (func(), error) {
	listener, err := net.Listen("tcp", application)
	if err != nil {
		return nil, err
	}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/private" {
			w.WriteHeader(http.StatusForbidden)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	return func() { server.Close() }, nil
}

// calls are one of each kind of denial, and what must not be taken for one.
func calls(authority *identity.Authority) error {
	expired, err := identity.Token(object{"iss": "https://staff.bank.example", "sub": "ada", "exp": 1000000000})
	if err != nil {
		return err
	}
	request := func(method, path string, headers ...string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nhost: ledger.bank\r\nconnection: close\r\n%s\r\n", method, path,
			strings.Join(append(headers, ""), "\r\n"))
	}
	for _, call := range []struct {
		from, account string // no account: plaintext
		port          int
		bytes         string
	}{
		{teller, "teller", httpPort, request("POST", "/entries", "user-agent: till/1.0")},
		{teller, "teller", httpPort, request("GET", "/private", "user-agent: till/1.0")},
		{teller, "teller", httpPort, request("DELETE", "/entries/7?force=yes", "user-agent: till/1.0")},
		{auditor, "auditor", httpPort, request("GET", "/entries/7", "user-agent: audit")},
		{auditor, "auditor", httpPort, request("POST", "/entries", "user-agent: audit")},
		{auditor, "auditor", httpPort, request("POST", "/entries/8", "user-agent: audit")},
		{auditor, "auditor", httpPort, request("POST", "/bank.Ledger/Add", "content-type: application/grpc", "te: trailers")},
		// As a gateway passes it on.
		{auditor, "auditor", httpPort, request("GET", "/balance", "x-forwarded-for: 203.0.113.7")},
		// Quotes and control characters are the client's to choose.
		{auditor, "auditor", httpPort, request("GET", "/\"quoted\"", "user-agent: a\" \"b\" \"c\td")},
		{teller, "teller", httpPort, request("POST", "/entries", "authorization: Bearer "+expired)},
		{teller, "teller", httpPort, request("POST", "/entries", "authorization: Bearer nonsense")},
		{teller, "teller", httpPort, request("GET", "/vault")},
		{printer, "", httpPort, request("GET", "/entries/7")},
		{teller, "teller", tcpPort, "GET / HTTP/1.0\r\n\r\n"},
		{auditor, "auditor", tcpPort, "hello"},
		{printer, "printer", tcpPort, "hello"},
		{printer, "", tcpPort, "hello"},
	} {
		c := client.Call{Source: call.from, Target: fmt.Sprintf("%s:%d", ledger, call.port), Bytes: call.bytes,
			HTTP: call.port == httpPort}
		if call.account != "" {
			certificate, err := authority.Certificate("cluster.local/ns/bank/sa/" + call.account)
			if err != nil {
				return err
			}
			alpn := sidecar.HTTPALPN
			service := 80
			if call.port == tcpPort {
				alpn, service = sidecar.TCPALPN, tcpPort
			}
			c.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true, NextProtos: alpn,
				ServerName: fmt.Sprintf("outbound_.%d_._.ledger.bank.svc.cluster.local", service)}
		}
		if _, err := client.Do(c); err != nil {
			return fmt.Errorf("%q: %w", call.bytes, err)
		}
	}
	return nil
}
