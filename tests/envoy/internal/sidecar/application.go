package sidecar

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"path/filepath"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/world"
)

// Application serves what stands behind a whole listener: it answers HTTP with
// 200 and sends bytes back.
func Application(dir string) (net.Listener, json.RawMessage, error) {
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
			go answer(conn)
		}
	}()
	cluster, err := json.Marshal(object{"name": application, "load_assignment": object{"cluster_name": application,
		"endpoints": list{object{"lb_endpoints": list{object{"endpoint": object{"address": object{"pipe": object{"path": socket}}}}}}}}})
	return l, cluster, err
}

// answer serves a connection line by line: paths may be such that no library reads them.
func answer(conn net.Conn) {
	defer conn.Close()
	for reader := bufio.NewReader(conn); ; {
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
