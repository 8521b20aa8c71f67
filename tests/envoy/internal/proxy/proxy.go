// Package proxy runs a real Envoy on loopback addresses.
//
// Listeners are given by file through LDS, not in the static bootstrap: a
// listener that Envoy refuses then costs only itself, as with istiod, and the
// reason can be read back.
package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Envoy is a running process.
type Envoy struct {
	dir  string
	cmd  *exec.Cmd
	done chan error
	http http.Client
	// Refused holds why Envoy did not take a listener, by listener name.
	Refused map[string]string
}

// Entry is one line of the access log, HTTP or TCP.
type Entry struct {
	Client    string `json:"client"` // ADDRESS:PORT of the peer
	Local     string `json:"local"`  // ADDRESS:PORT of the listener
	RemoteIP  string `json:"remote_ip"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Authority string `json:"authority"`
	Code      int    `json:"code"`
	Details   string `json:"details"` // RESPONSE_CODE_DETAILS
	Closed    string `json:"closed"`  // CONNECTION_TERMINATION_DETAILS
	Failure   string `json:"failure"` // of the TLS transport
	SNI       string `json:"sni"`
	Peer      string `json:"peer"` // URI SAN
	// Shared says that two connections had the same addresses, so that nobody knows whose entry it is.
	Shared   bool            `json:"-"`
	HTTPRBAC json.RawMessage `json:"http_rbac"` // dynamic metadata
	TCPRBAC  json.RawMessage `json:"tcp_rbac"`
	JWT      json.RawMessage `json:"jwt"`
}

// AccessLog is the access log configuration that Log reads; it belongs into
// every HTTP connection manager and TCP filter chain.
func AccessLog(dir string) map[string]any {
	return map[string]any{
		"name": "file",
		"typed_config": map[string]any{
			"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
			"path":  filepath.Join(dir, "access.log"),
			"log_format": map[string]any{"json_format": map[string]any{
				"client":    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
				"local":     "%DOWNSTREAM_LOCAL_ADDRESS%",
				"remote_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
				"method":    "%REQ(:METHOD)%",
				"path":      "%REQ(:PATH)%",
				"authority": "%REQ(:AUTHORITY)%",
				"code":      "%RESPONSE_CODE%",
				"details":   "%RESPONSE_CODE_DETAILS%",
				"closed":    "%CONNECTION_TERMINATION_DETAILS%",
				"failure":   "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
				"sni":       "%REQUESTED_SERVER_NAME%",
				"peer":      "%DOWNSTREAM_PEER_URI_SAN%",
				"http_rbac": "%DYNAMIC_METADATA(envoy.filters.http.rbac)%",
				"tcp_rbac":  "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
				"jwt":       "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn)%",
			}},
		},
	}
}

// Version is the Envoy that the recorded answers come from.
const Version = "1.38.3"

// Binary finds the Envoy to run: $ENVOY, or where the script `record` puts it.
func Binary() (string, error) {
	path := os.Getenv("ENVOY")
	if path == "" {
		cache := os.Getenv("KUBECTL_MESH_CACHE")
		if cache == "" {
			base, err := os.UserCacheDir()
			if err != nil {
				return "", err
			}
			cache = filepath.Join(base, "kubectl-mesh")
		}
		path = filepath.Join(cache, "envoy-"+Version, "envoy", "_bin", "envoy")
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no Envoy to run (set ENVOY, or run the script `record` once): %w", err)
	}
	return path, nil
}

// Start writes the configuration into dir and waits until every listener is
// either up or refused. A listener is the JSON of envoy.config.listener.v3.Listener
// without its "@type"; a cluster, that of envoy.config.cluster.v3.Cluster.
func Start(dir string, listeners []json.RawMessage, clusters ...json.RawMessage) (*Envoy, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	resources := make([]any, 0, len(listeners))
	for _, l := range listeners {
		var fields map[string]any
		if err := json.Unmarshal(l, &fields); err != nil {
			return nil, err
		}
		fields["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
		resources = append(resources, fields)
	}
	lds, err := json.Marshal(map[string]any{"version_info": "1", "resources": resources})
	if err != nil {
		return nil, err
	}
	admin := filepath.Join(dir, "admin.sock")
	bootstrap, err := json.Marshal(map[string]any{
		"node":             map[string]any{"id": "test", "cluster": "test"},
		"admin":            map[string]any{"address": map[string]any{"pipe": map[string]any{"path": admin}}},
		"static_resources": map[string]any{"clusters": clusters},
		"dynamic_resources": map[string]any{"lds_config": map[string]any{
			"path_config_source":   map[string]any{"path": filepath.Join(dir, "lds.json")},
			"resource_api_version": "V3",
		}},
	})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "lds.json"), lds, 0o600),
		os.WriteFile(filepath.Join(dir, "bootstrap.json"), bootstrap, 0o600),
	); err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "envoy.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "-c", filepath.Join(dir, "bootstrap.json"),
		"--concurrency", "1", "--disable-hot-restart", "--file-flush-interval-msec", "20", "-l", "warning")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	output.Close()
	e := &Envoy{dir: dir, cmd: cmd, done: make(chan error, 1), http: http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", admin)
		}},
	}}
	go func() { e.done <- cmd.Wait() }()
	if err := e.settle(); err != nil {
		e.Stop()
		return nil, err
	}
	return e, nil
}

// EndedError says that the process ended by itself, with its log.
type EndedError struct{ text string }

func (e *EndedError) Error() string { return e.text }

// settle waits for the server to be live and reads which listeners were refused.
func (e *Envoy) settle() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-e.done:
			log, _ := os.ReadFile(filepath.Join(e.dir, "envoy.log"))
			return &EndedError{fmt.Sprintf("envoy ended: %v\n%s", err, log)}
		default:
		}
		if body, err := e.admin("/ready"); err == nil && strings.HasPrefix(body, "LIVE") {
			break
		}
		if time.Now().After(deadline) {
			return errors.New("envoy did not become ready")
		}
	}
	body, err := e.admin("/config_dump?resource=dynamic_listeners")
	if err != nil {
		return err
	}
	var dump struct {
		Configs []struct {
			Name       string `json:"name"`
			ErrorState *struct {
				Details string `json:"details"`
			} `json:"error_state"`
		} `json:"configs"`
	}
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		return err
	}
	e.Refused = map[string]string{}
	for _, l := range dump.Configs {
		if l.ErrorState != nil {
			e.Refused[l.Name] = l.ErrorState.Details
		}
	}
	return nil
}

func (e *Envoy) admin(path string) (string, error) {
	response, err := e.http.Get("http://admin" + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// Stop ends the process.
func (e *Envoy) Stop() {
	_ = e.cmd.Process.Kill()
	select {
	case <-e.done:
	case <-time.After(5 * time.Second):
	}
}

// Log waits until the access log has an entry for each wanted client address
// and returns the entries by "CLIENT>LOCAL". Entries may lack: a connection
// that no filter chain took is not logged by filters.
func (e *Envoy) Log(wanted []string, patience time.Duration) (map[string]Entry, error) {
	path := filepath.Join(e.dir, "access.log")
	for deadline := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		entries, err := read(path)
		if err != nil {
			return nil, err
		}
		missing := 0
		for _, w := range wanted {
			if _, ok := entries[w]; !ok {
				missing++
			}
		}
		if missing == 0 || time.Now().After(deadline) {
			return entries, nil
		}
	}
}

func read(path string) (map[string]Entry, error) {
	entries := map[string]Entry{}
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return entries, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var entry Entry
		if err := json.Unmarshal(lines.Bytes(), &entry); err != nil {
			// The last line may be half written.
			continue
		}
		key := entry.Client + ">" + entry.Local
		entry.Shared = entries[key].Client != ""
		entries[key] = entry
	}
	return entries, lines.Err()
}
