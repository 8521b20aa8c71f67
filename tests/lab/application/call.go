package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// sideBySide is how many requests are under way at the same time.
const sideBySide = 512

// A wanted request. With TCP instead of URL, a connection is opened, a line sent and one awaited.
type wanted struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Host    string            `json:"host"`
	Headers map[string]string `json:"headers"`
	TCP     string            `json:"tcp"`
	HTTP2   bool              `json:"http2"`
	// Timeout in seconds; 30 where nothing is said.
	Timeout float64 `json:"timeout"`
}

// A seen answer: a status, or what became of the connection (reset, closed, timeout, or the error).
type seen struct {
	Status  int                 `json:"status,omitempty"`
	Headers map[string][]string `json:"headers,omitempty"`
	Body    string              `json:"body,omitempty"`
	Error   string              `json:"error,omitempty"`
	// Seconds from the start of the call to the last byte.
	Seconds float64 `json:"seconds"`
}

// call sends the requests of one stream and writes the answers to another.
func call(from io.Reader, to io.Writer) error {
	var requests []wanted
	for lines := json.NewDecoder(bufio.NewReader(from)); ; {
		var request wanted
		if err := lines.Decode(&request); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("request %d: %w", len(requests)+1, err)
		}
		requests = append(requests, request)
	}
	answers := make([]seen, len(requests))
	var group sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for number, request := range requests {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			answers[number] = send(request)
		})
	}
	group.Wait()
	lines := json.NewEncoder(to)
	for _, answer := range answers {
		if err := lines.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func send(request wanted) seen {
	timeout := 30 * time.Second
	if request.Timeout > 0 {
		timeout = time.Duration(request.Timeout * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	started := time.Now()
	answer, err := seen{}, error(nil)
	if request.TCP != "" {
		answer, err = sendTCP(ctx, request.TCP)
	} else {
		answer, err = sendHTTP(ctx, request)
	}
	answer.Seconds = time.Since(started).Seconds()
	if err != nil {
		answer.Error = word(err)
	}
	return answer
}

func sendHTTP(ctx context.Context, request wanted) (seen, error) {
	outgoing, err := http.NewRequestWithContext(ctx, request.Method, request.URL, nil)
	if err != nil {
		return seen{}, err
	}
	for name, value := range request.Headers {
		outgoing.Header.Set(name, value)
	}
	if request.Host != "" {
		outgoing.Host = request.Host
	}
	// A connection for each request: on a kept one, an earlier decision may still hold.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if request.HTTP2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	// Redirects are answers.
	response, err := transport.RoundTrip(outgoing)
	if err != nil {
		return seen{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return seen{Status: response.StatusCode, Headers: response.Header, Body: string(body)}, err
}

func sendTCP(ctx context.Context, address string) (seen, error) {
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return seen{}, err
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return seen{}, err
	}
	if _, err := fmt.Fprintln(connection, "hello"); err != nil {
		return seen{}, err
	}
	greeting, err := bufio.NewReader(connection).ReadString('\n')
	return seen{Body: strings.TrimSpace(greeting)}, err
}

// word names what tests ask for.
func word(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return err.Error()
	}
}
