// Command record makes random Worlds, gives Istio's own configuration for them
// to a real Envoy, asks it, and writes manifests and test cases.
//
//	record [-istiod] SEED COUNT OUTDIR
//
// Istio's code makes the filters of policies within this process; with -istiod,
// the istiod of the cluster of $KUBECONFIG makes the whole listener (source.go).
//
// OUTDIR/wN/{manifests,cases}.yaml, and listeners.json, which is what Envoy
// then dumps of its configuration; Worlds whose configuration Envoy does not
// take are in OUTDIR/refused/wN with the reason.
package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"istio.io/istio/pkg/log"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/client"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/identity"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/sidecar"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/world"
)

// batch is how many Worlds one Envoy serves, each on its own address.
const batch = 25

func main() {
	requests := flag.Int("requests", 40, "requests for each World")
	running := flag.Bool("istiod", false, "take whole listeners from the istiod of the cluster of $KUBECONFIG")
	keep := flag.Bool("keep", false, "keep Envoy's configuration and logs")
	only := flag.Int("only", -1, "make only the World of this number")
	flag.Parse()
	if flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: record [-istiod] [-requests N] [-only N] [-keep] SEED COUNT OUTDIR")
		os.Exit(2)
	}
	seed, err := strconv.ParseUint(flag.Arg(0), 10, 64)
	if err != nil {
		fail(err)
	}
	count, err := strconv.Atoi(flag.Arg(1))
	if err != nil {
		fail(err)
	}
	// Istio's loggers would report every invalid rule that we put in on purpose.
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	r, err := newRecorder(seed, *requests, flag.Arg(2))
	if err != nil {
		fail(err)
	}
	r.keep = *keep
	if *running {
		if r.source, err = connect(r.server); err != nil {
			fail(err)
		}
	}
	err = r.all(count, *only)
	if err := errors.Join(err, r.source.close()); err != nil {
		fail(err)
	}
}

// all records the Worlds, or only one of them, and says how many of what there were.
func (r *recorder) all(count, only int) error {
	var indexes []int
	for i := range count {
		if only < 0 || only == i {
			indexes = append(indexes, i)
		}
	}
	start := time.Now()
	for len(indexes) > 0 {
		n := min(batch, len(indexes))
		if err := r.record(indexes[:n]); err != nil {
			return err
		}
		indexes = indexes[n:]
	}
	elapsed := time.Since(start)
	fmt.Printf("seed %d: %d Worlds (%d refused by Envoy), %d decisions (%d allow, %d deny, %d name a rule) in %.1fs, %.0f a minute\n",
		r.seed, r.worlds, r.refused, r.allow+r.deny, r.allow, r.deny, r.named, elapsed.Seconds(), float64(r.allow+r.deny)/elapsed.Minutes())
	if r.unknown > 0 {
		fmt.Printf("left out: %d requests, because connections had the same addresses\n", r.unknown)
	}
	return nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "record:", err)
	os.Exit(1)
}

type recorder struct {
	seed      uint64
	requests  int
	keep      bool
	out       string
	authority *identity.Authority
	server    sidecar.ServerTLS
	source    source

	worlds, refused, allow, deny, named, unknown int
}

func newRecorder(seed uint64, requests int, out string) (*recorder, error) {
	authority, err := identity.NewAuthority()
	if err != nil {
		return nil, err
	}
	cert, err := authority.Certificate("cluster.local/ns/app/sa/target")
	if err != nil {
		return nil, err
	}
	chain, key, err := identity.PEMs(cert)
	if err != nil {
		return nil, err
	}
	server := sidecar.ServerTLS{Cert: chain, Key: key, Root: authority.PEM}
	return &recorder{seed: seed, requests: requests, out: out, authority: authority, server: server, source: builders{server}}, nil
}

// address is the pod's: it depends only on the seed and the World, for
// manifests and rules hold it.
func (r *recorder) address(index int) string {
	return fmt.Sprintf("127.%d.%d.%d", 10+r.seed%90, index/200%256, 1+index%200)
}

type loaded struct {
	*world.World
	index int
	configuration
}

// record asks one Envoy about some Worlds. When they end the process together,
// each gets one of its own.
func (r *recorder) record(indexes []int) error {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		return err
	}
	if r.keep {
		fmt.Println("Envoy's files:", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	var worlds []loaded
	for _, index := range indexes {
		w := world.Make(r.seed, index, r.address(index), r.requests, r.source.whole())
		configuration, err := r.source.configure(dir, w, r.address(index))
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", w.Name, err, w.Manifests)
		}
		worlds = append(worlds, loaded{w, index, configuration})
	}
	err = r.ask(dir, worlds)
	var ended *proxy.EndedError
	if !errors.As(err, &ended) {
		return err
	}
	if len(worlds) == 1 {
		return r.refuse(worlds[0], ended.Error())
	}
	for _, index := range indexes {
		if err := r.record([]int{index}); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) ask(dir string, worlds []loaded) error {
	clusters, end, err := r.source.application(dir)
	if err != nil {
		return err
	}
	defer end()
	var all []json.RawMessage
	for _, w := range worlds {
		all = append(all, w.listeners...)
	}
	envoy, err := proxy.Start(dir, all, clusters...)
	if err != nil {
		return err
	}
	defer envoy.Stop()

	answers := make([][]client.Answer, len(worlds))
	var wanted []string
	for i, w := range worlds {
		if why := refusal(envoy, w.Name); strings.Contains(why, "bind") {
			return fmt.Errorf("%s: %s", w.Name, why) // the machine's fault, not the configuration's
		} else if why != "" {
			if err := r.refuse(w, why); err != nil {
				return err
			}
			continue
		}
		if answers[i], err = r.calls(w); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		for j, a := range answers[i] {
			if a.Status != 0 || !w.Requests[j].HTTP {
				wanted = append(wanted, a.Key)
			}
		}
	}
	entries, err := envoy.Log(wanted, time.Second)
	if err != nil {
		return err
	}
	for i, w := range worlds {
		if answers[i] == nil {
			continue
		}
		listeners, err := envoy.Listeners(w.Name + "-")
		if err != nil {
			return err
		}
		if listeners, err = r.source.dump(listeners); err != nil {
			return err
		}
		if err := r.write(w, answers[i], entries, listeners); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return nil
}

func refusal(envoy *proxy.Envoy, name string) string {
	for listener, why := range envoy.Refused {
		if strings.HasPrefix(listener, name+"-") {
			return why
		}
	}
	return ""
}

// calls makes a World's requests, some at a time.
func (r *recorder) calls(w loaded) ([]client.Answer, error) {
	answers := make([]client.Answer, len(w.Requests))
	errs := make([]error, len(w.Requests))
	var group sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i, q := range w.Requests {
		gate <- struct{}{}
		group.Go(func() {
			defer func() { <-gate }()
			answers[i], errs[i] = r.call(q, r.address(w.index), w.plain[q.Port])
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("request %d %+v: %w", i, w.Requests[i], err)
		}
	}
	return answers, nil
}

// call makes a request. Sidecars know which ports take no mutual TLS, and come
// in plaintext there, whoever they are.
func (r *recorder) call(q world.Request, address string, plain bool) (client.Answer, error) {
	bearer := ""
	if q.Token != nil {
		var err error
		if bearer, err = identity.Token(q.Token); err != nil {
			return client.Answer{}, err
		}
	}
	call := client.Call{Source: q.Source, Target: fmt.Sprintf("%s:%d", address, q.Port), Bytes: q.Bytes(bearer), HTTP: q.HTTP, HTTP2: q.HTTP2}
	switch {
	case q.Foreign:
		call.TLS = &tls.Config{InsecureSkipVerify: true, ServerName: q.SNI}
	case q.From != "" && !plain:
		cert, err := r.authority.Certificate(q.From)
		if err != nil {
			return client.Answer{}, err
		}
		// The server's identity is not what is tested.
		call.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true, ServerName: q.SNI, NextProtos: sidecar.TCPALPN}
		if q.HTTP2 {
			call.TLS.NextProtos = append(slices.Clone(sidecar.HTTP2ALPN), "h2")
		} else if q.HTTP {
			call.TLS.NextProtos = append(slices.Clone(sidecar.HTTPALPN), "http/1.1")
		}
	}
	return client.Do(call)
}

// matched is the policy id in Envoy's details.
var matched = regexp.MustCompile(`ns\[(.*)\]-policy\[(.*)\]-rule\[(\d+)\]`)

func (r *recorder) write(w loaded, answers []client.Answer, entries map[string]proxy.Entry, listeners []byte) error {
	outcomes := make([]world.Outcome, len(answers))
	for i, a := range answers {
		q, entry := w.Requests[i], entries[a.Key]
		o := &outcomes[i]
		if o.Unknown = entry.Shared; o.Unknown {
			r.unknown++
			continue
		}
		// An HTTP request on a TCP port is but bytes: the connection then has the reason.
		details := entry.Closed
		if entry.Details != "" {
			details = entry.Details
		}
		if q.HTTP {
			o.Allowed = a.Status == 200
			switch {
			case a.Status == 200, a.Status == 0, a.Status >= 400 && a.Status < 500:
			default:
				return fmt.Errorf("status %d: %+v", a.Status, entry)
			}
		} else {
			o.Allowed = a.Body == world.Ping
		}
		if o.RemoteIP = entry.RemoteIP; o.RemoteIP == "" {
			o.RemoteIP = q.Source // nothing was read that could say otherwise
		}
		if o.Allowed {
			// Envoy names an ALLOW rule only in the metadata of its HTTP filter,
			// whose last writer is the ALLOW filter. Dry-run policies write beside it.
			var metadata struct {
				ID string `json:"enforced_effective_policy_id"`
			}
			if len(entry.HTTPRBAC) > 0 {
				if err := json.Unmarshal(entry.HTTPRBAC, &metadata); err != nil {
					return fmt.Errorf("metadata of %s: %w", a.Key, err)
				}
			}
			details = metadata.ID
		}
		// AUDIT writes the same metadata, and is the last where there is no ALLOW.
		if m := matched.FindStringSubmatch(details); m != nil && !w.Audits[m[1]+"/"+m[2]] {
			o.Rule = m[1] + "/" + m[2] + "/" + m[3]
			r.named++
		}
		if o.Allowed {
			r.allow++
		} else {
			r.deny++
		}
	}
	cases, err := w.Cases(outcomes, r.address(w.index))
	if err != nil {
		return err
	}
	r.worlds++
	return r.files(filepath.Join(r.out, w.Name), w, map[string][]byte{"cases.yaml": cases, "listeners.json": listeners})
}

func (r *recorder) refuse(w loaded, why string) error {
	r.refused++
	return r.files(filepath.Join(r.out, "refused", w.Name), w, map[string][]byte{"reason.txt": []byte(why + "\n")})
}

func (r *recorder) files(dir string, w loaded, more map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	head := fmt.Sprintf("# seed %d, World %d; Envoy %s\n", r.seed, w.index, proxy.Version)
	for _, note := range w.notes {
		head += "# " + strings.ReplaceAll(note, "\n", " ") + "\n"
	}
	more["manifests.yaml"] = append([]byte(head), w.manifests...)
	for name, content := range more {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
