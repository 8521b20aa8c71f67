package sidecar

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"path/filepath"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/world"
)

// Application serves what stands behind a whole listener: it answers HTTP with
// 200 and sends bytes back, also within TLS that the sidecar passes on.
func (s ServerTLS) Application(dir string) (net.Listener, json.RawMessage, error) {
	certificate, err := tls.X509KeyPair([]byte(s.Cert), []byte(s.Key))
	if err != nil {
		return nil, nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	socket := filepath.Join(dir, "application.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go answer(conn, config)
		}
	}()
	cluster, err := json.Marshal(object{"name": application, "load_assignment": object{"cluster_name": application,
		"endpoints": list{object{"lb_endpoints": list{object{"endpoint": object{"address": object{"pipe": object{"path": socket}}}}}}}}})
	return l, cluster, err
}

// answer serves a connection line by line: paths may be such that no library reads them.
func answer(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	const handshake = 0x16
	if first, _ := reader.Peek(1); len(first) == 1 && first[0] == handshake {
		conn = tls.Server(peeked{conn, reader}, config)
		reader = bufio.NewReader(conn)
	}
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return // the proxy closed it
		}
		reply := ""
		switch line {
		case world.Ping:
			reply = line
		case "\r\n": // the end of a request, none of which has a body
			reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

// peeked is a connection of which something has been read ahead.
type peeked struct {
	net.Conn
	ahead io.Reader
}

func (p peeked) Read(into []byte) (int, error) { return p.ahead.Read(into) }
