package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// An answer shows the request as it arrived, and who answered.
type answer struct {
	Name    string              `json:"name"`
	Version string              `json:"version"`
	Method  string              `json:"method"`
	Host    string              `json:"host"`
	Path    string              `json:"path"`
	Headers map[string][]string `json:"headers"`
}

// serve answers on all ports until the process ends. It is told by the environment who it is:
// WHOAMI_NAME ("payment v2", or NAME and VERSION), WHOAMI_PORT_NUMBER or HTTP_PORTS and TCP_PORTS
// (with commas; 8080 and none where nothing is said), ERROR_PERCENT (so many requests are answered with 500).
func serve() error {
	name, version, _ := strings.Cut(os.Getenv("WHOAMI_NAME"), " ")
	name, version = cmp.Or(os.Getenv("NAME"), name, "application"), cmp.Or(os.Getenv("VERSION"), version)
	handler := observed(name, version, behave(name, version))
	failed := make(chan error)
	for _, port := range ports("HTTP_PORTS", cmp.Or(os.Getenv("WHOAMI_PORT_NUMBER"), "8080")) {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server := http.Server{Addr: ":" + port, Handler: handler, Protocols: protocols}
		go func() { failed <- server.ListenAndServe() }()
	}
	for _, port := range ports("TCP_PORTS", "") {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() { failed <- serveTCP(listener, name+" "+version) }()
	}
	return <-failed
}

func ports(variable, otherwise string) []string {
	return strings.FieldsFunc(cmp.Or(os.Getenv(variable), otherwise), func(r rune) bool { return r == ',' })
}

// behave answers, and on request in another way: `?delay=3s` (first wait), `?status=503` (with that
// status), `?close=true` (close the connection without an answer).
func behave(name, version string) http.HandlerFunc {
	errors, _ := strconv.ParseFloat(os.Getenv("ERROR_PERCENT"), 64)
	return func(writer http.ResponseWriter, request *http.Request) {
		wishes := request.URL.Query()
		if delay, err := time.ParseDuration(wishes.Get("delay")); err == nil {
			select {
			case <-time.After(delay):
			case <-request.Context().Done():
				return
			}
		}
		if wishes.Get("close") != "" {
			// The server then closes the connection (net/http).
			panic(http.ErrAbortHandler)
		}
		writer.Header().Set("Content-Type", "application/json")
		if status, err := strconv.Atoi(wishes.Get("status")); err == nil && status >= 200 && status < 600 {
			writer.WriteHeader(status)
		} else if rand.Float64()*100 < errors {
			writer.WriteHeader(http.StatusInternalServerError)
		}
		_ = json.NewEncoder(writer).Encode(answer{
			Name: name, Version: version, Method: request.Method, Host: request.Host,
			Path: request.URL.RequestURI(), Headers: request.Header,
		})
	}
}

// serveTCP says who it is after the first line, and then every line back. Not before: Envoy decides
// about a TCP connection when the client has sent something, and what a server says first has then
// already come through.
func serveTCP(listener net.Listener, name string) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			lines := bufio.NewReader(connection)
			if _, err := lines.ReadString('\n'); err != nil {
				return
			}
			if _, err := fmt.Fprintln(connection, name); err != nil {
				return
			}
			_, _ = io.Copy(connection, lines)
		}()
	}
}

// observed counts what is answered under the names that Istio's own proxies use, because a stock Envoy
// has no such metrics (https://istio.io/latest/docs/reference/config/metrics/). They are served below
// /metrics.
func observed(name, version string, handler http.HandlerFunc) http.Handler {
	registry := prometheus.NewRegistry()
	labels := prometheus.Labels{
		"reporter": "destination", "destination_workload": os.Getenv("WORKLOAD"),
		"destination_workload_namespace": os.Getenv("NAMESPACE"), "destination_service_name": name,
		"destination_service_namespace": os.Getenv("NAMESPACE"), "destination_version": version,
	}
	of := []string{"response_code", "source_principal"}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "istio_requests_total", ConstLabels: labels,
		Help: "Requests answered."}, of)
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "istio_request_duration_milliseconds", ConstLabels: labels, Help: "How long they took.",
		Buckets: []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000},
	}, of)
	registry.MustRegister(requests, durations)
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	routes.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		// Istio has the kubelet ask the agent, past the proxy's metrics.
		if strings.HasPrefix(request.UserAgent(), "kube-probe/") {
			handler(writer, request)
			return
		}
		started, seen := time.Now(), &statusWriter{ResponseWriter: writer, status: http.StatusOK}
		defer func() {
			values := []string{strconv.Itoa(seen.status), caller(request)}
			requests.WithLabelValues(values...).Inc()
			durations.WithLabelValues(values...).Observe(float64(time.Since(started).Microseconds()) / 1000)
		}()
		handler(seen, request)
	})
	return routes
}

// caller is the identity that the proxy vouches for.
func caller(request *http.Request) string {
	for _, part := range strings.FieldsFunc(request.Header.Get("X-Forwarded-Client-Cert"), func(r rune) bool {
		return r == ';' || r == ','
	}) {
		if identity, found := strings.CutPrefix(part, "URI="); found {
			return identity
		}
	}
	return "unknown"
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
