package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// output is what a container writes: kept as its log, and passed on to whoever is attached.
type output struct {
	mutex    sync.Mutex
	log      *os.File
	attached map[*attachment]struct{}
	copying  sync.WaitGroup
}

// attachment is somebody who reads along.
type attachment struct{ stdout, stderr io.Writer }

// openLog makes a log file where the kubelet looks for it.
func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
}

func newOutput(log *os.File) *output {
	return &output{log: log, attached: map[*attachment]struct{}{}}
}

func (o *output) attach(reader *attachment) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	o.attached[reader] = struct{}{}
}

func (o *output) detach(reader *attachment) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	delete(o.attached, reader)
}

// close ends the log, with the last word that the container wrote.
func (o *output) close() {
	o.copying.Wait()
	o.mutex.Lock()
	defer o.mutex.Unlock()
	_ = o.log.Close()
}

// pipe makes the container's end of stdout or stderr, for a user who may open it again as /dev/stdout:
// Envoy does.
func (o *output) pipe(name string, user int64) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o.copy(name, read)
	return write, write.Chown(int(user), -1)
}

// copy keeps what is read, until there is no more.
func (o *output) copy(name string, from io.ReadCloser) {
	o.copying.Go(func() {
		_, _ = io.Copy(&stream{output: o, name: name}, from)
		_ = from.Close()
	})
}

// stream is stdout or stderr.
type stream struct {
	output *output
	name   string
	rest   []byte
}

// Write keeps whole lines, in the kubelet's format: time, stream, F for a full line, text
// (https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md).
func (s *stream) Write(written []byte) (int, error) {
	s.output.mutex.Lock()
	defer s.output.mutex.Unlock()
	for reader := range s.output.attached {
		to := reader.stdout
		if s.name == "stderr" {
			to = reader.stderr
		}
		if to != nil {
			_, _ = to.Write(written)
		}
	}
	s.rest = append(s.rest, written...)
	for {
		end := bytes.IndexByte(s.rest, '\n')
		if end < 0 {
			return len(written), nil
		}
		_, err := fmt.Fprintf(s.output.log, "%s %s F %s\n", time.Now().Format(time.RFC3339Nano), s.name, s.rest[:end])
		if err != nil {
			return 0, err
		}
		s.rest = s.rest[end+1:]
	}
}
