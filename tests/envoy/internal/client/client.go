// Package client sends bytes exactly as told: no library may tidy a path or a
// header before Envoy sees it.
package client

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Call is one connection with one request.
type Call struct {
	Source string      // address to connect from; empty for 127.0.0.1
	Target string      // ADDRESS:PORT
	TLS    *tls.Config // nil for plaintext
	Bytes  string      // what to send
	HTTP   bool        // whether an HTTP response is expected
	HTTP2  bool        // whether its version is 2
}

// Answer is what came back.
type Answer struct {
	Key    string // CLIENT>LOCAL, the key of the access log entry
	Status int    // 0 when the connection was closed without a response
	Body   string
}

const patience = 5 * time.Second

// Do makes the call. Its error means that the test itself is broken; a server
// that closes or resets the connection is an answer.
func Do(call Call) (Answer, error) {
	source := call.Source
	if source == "" {
		source = "127.0.0.1"
	}
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := dialer.Dial("tcp", call.Target)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	answer := Answer{Key: conn.LocalAddr().String() + ">" + call.Target}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer, err
	}
	var stream net.Conn = conn
	if call.TLS != nil {
		secured := tls.Client(conn, call.TLS)
		if err := secured.Handshake(); err != nil {
			return answer, timeout(err)
		}
		stream = secured
	}
	if _, err := io.WriteString(stream, call.Bytes); err != nil {
		return answer, timeout(err)
	}
	if !call.HTTP {
		// The server echoes. (Envoy's network RBAC decides on the first data, so
		// a server that speaks first would tell nothing.)
		body := make([]byte, len(call.Bytes))
		n, err := io.ReadFull(stream, body)
		answer.Body = string(body[:n])
		return answer, timeout(err)
	}
	reader := bufio.NewReader(stream)
	if call.HTTP2 {
		// Behind a TCP port, the application answers in its own version.
		if start, _ := reader.Peek(len("HTTP/1")); string(start) != "HTTP/1" {
			return answer, timeout(answer.read2(reader))
		}
	}
	method, _, _ := strings.Cut(call.Bytes, " ")
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err != nil {
		return answer, timeout(err)
	}
	defer response.Body.Close()
	answer.Status = response.StatusCode
	if response.StatusCode >= 200 {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return answer, fmt.Errorf("reading the body: %w", err)
		}
		answer.Body = string(body)
	}
	return answer, nil
}

// read2 reads the only response of an HTTP/2 connection. Its error is that of the
// connection.
func (a *Answer) read2(reader io.Reader) error {
	framer := http2.NewFramer(io.Discard, reader)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if a.Status, err = strconv.Atoi(frame.PseudoValue("status")); err != nil {
				return err
			}
		case *http2.DataFrame:
			a.Body += string(frame.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil // refused without a response
		}
		if frame.Header().Type <= http2.FrameHeaders && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return nil
		}
	}
}

// timeout keeps only the error that no server answer explains.
func timeout(err error) error {
	var e net.Error
	if errors.As(err, &e) && e.Timeout() {
		return err
	}
	return nil
}
