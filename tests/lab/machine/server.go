package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// recorder stands between the host and the API server: it remembers every request, and can cut one.
type recorder struct {
	proxy *httputil.ReverseProxy

	mutex    sync.Mutex
	requests []string
	// cut is how many requests from now the one is that is cut; 0 is none.
	cut int
	// served says that the API server gets the request that is cut, and only its answer is lost.
	served bool
}

func newRecorder(server string) *recorder {
	to := &url.URL{Scheme: "https", Host: server}
	return &recorder{proxy: &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) { request.SetURL(to) },
		// Watches are answers that go on.
		FlushInterval: -1,
		// The certificate is the machine's own, and the way to it is loopback.
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64},
		ErrorHandler: func(writer http.ResponseWriter, _ *http.Request, err error) {
			// As if there were no proxy.
			panic(http.ErrAbortHandler)
		},
	}}
}

// serve answers as the API server does, with its certificate.
func (r *recorder) serve(listener net.Listener, directory string) {
	certificate := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		// The API server writes it when it starts.
		pair, err := tls.LoadX509KeyPair(filepath.Join(directory, "apiserver.crt"), filepath.Join(directory, "apiserver.key"))
		return &pair, err
	}
	server := http.Server{
		Handler: r,
		// Upgrades (exec, port-forward) need HTTP/1.1.
		TLSConfig: &tls.Config{GetCertificate: certificate, NextProtos: []string{"http/1.1"}},
		ErrorLog:  nil,
	}
	fmt.Fprintln(os.Stderr, "API server's proxy:", server.ServeTLS(listener, "", ""))
}

func (r *recorder) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	r.mutex.Lock()
	r.requests = append(r.requests, request.Method+" "+request.URL.RequestURI())
	cut, served := r.cut == 1, r.served
	if r.cut > 0 {
		r.cut--
	}
	r.mutex.Unlock()
	switch {
	case cut && served:
		r.proxy.ServeHTTP(&discarded{header: http.Header{}}, request)
		panic(http.ErrAbortHandler)
	case cut:
		panic(http.ErrAbortHandler)
	default:
		r.proxy.ServeHTTP(writer, request)
	}
}

// list writes the requests since the last time that somebody asked, one a line.
func (r *recorder) list(writer http.ResponseWriter, _ *http.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, request := range r.requests {
		fmt.Fprintln(writer, request)
	}
	r.requests = nil
}

// cutNext lets the request be lost that is NUMBER from now, 1 being the next.
func (r *recorder) cutNext(writer http.ResponseWriter, request *http.Request) {
	number, err := strconv.Atoi(request.PathValue("number"))
	if err != nil || number < 0 {
		http.Error(writer, "not a number of requests", http.StatusBadRequest)
		return
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.cut, r.served = number, request.URL.Query().Has("served")
}

// discarded is an answer that nobody gets.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header               { return d.header }
func (d *discarded) Write(written []byte) (int, error) { return len(written), nil }
func (d *discarded) WriteHeader(int)                   {}
