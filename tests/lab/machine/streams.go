package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

func (c *containers) ExecSync(ctx context.Context, request *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	if request.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(request.Timeout)*time.Second)
		defer cancel()
	}
	command, err := c.command(ctx, request.ContainerId, request.Cmd)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	return &cri.ExecSyncResponse{
		Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitCode: int32(command.ProcessState.ExitCode()),
	}, nil
}

// command runs a program in a container that runs.
func (c *containers) command(ctx context.Context, id string, words []string) (*exec.Cmd, error) {
	found, err := c.find(id)
	if err != nil {
		return nil, err
	}
	c.mutex.Lock()
	process, running := found.process, found.state() == cri.ContainerState_CONTAINER_RUNNING
	c.mutex.Unlock()
	if !running {
		return nil, fmt.Errorf("%s does not run", found.config.Metadata.Name)
	}
	arguments := []string{
		"--target", strconv.Itoa(process), "--mount", "--uts", "--ipc", "--net", "--pid", "--wd", "--",
	}
	arguments = append(arguments, found.identity()...)
	command := exec.CommandContext(ctx, "nsenter", append(arguments, words...)...)
	command.Env = found.environment()
	return command, nil
}

func (c *containers) Exec(_ context.Context, request *cri.ExecRequest) (*cri.ExecResponse, error) {
	return c.streams.GetExec(request)
}

func (c *containers) Attach(_ context.Context, request *cri.AttachRequest) (*cri.AttachResponse, error) {
	return c.streams.GetAttach(request)
}

func (c *containers) PortForward(_ context.Context, request *cri.PortForwardRequest) (*cri.PortForwardResponse, error) {
	return c.streams.GetPortForward(request)
}

// streamed implements streaming.Runtime; its methods have the names of those of the service.
type streamed struct{ *containers }

func (c streamed) Exec(ctx context.Context, id string, words []string, in io.Reader, out, errors io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	command, err := c.command(ctx, id, words)
	if err != nil {
		return err
	}
	if tty {
		terminal, err := pty.Start(command)
		if err != nil {
			return err
		}
		defer terminal.Close()
		go follow(terminal, resize)
		if in != nil {
			go func() { _, _ = io.Copy(terminal, in) }()
		}
		if out != nil {
			_, _ = io.Copy(out, terminal)
		}
		return command.Wait()
	}
	if out != nil {
		command.Stdout = out
	}
	if errors != nil {
		command.Stderr = errors
	}
	if in != nil {
		// Not command.Stdin: the command may end before its input does.
		pipe, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			_ = pipe.Close()
		}()
	}
	return command.Run()
}

func (c streamed) Attach(ctx context.Context, id string, in io.Reader, out, errors io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize) error {
	found, err := c.find(id)
	if err != nil {
		return err
	}
	reader := &attachment{}
	if out != nil {
		reader.stdout = out
	}
	if errors != nil {
		reader.stderr = errors
	}
	found.output.attach(reader)
	defer found.output.detach(reader)
	if terminal, ok := found.input.(*os.File); ok {
		go follow(terminal, resize)
	}
	if in != nil && found.input != nil {
		go func() {
			_, _ = io.Copy(found.input, in)
			if !found.config.Tty {
				_ = found.input.Close()
			}
		}()
	}
	select {
	case <-found.ended:
	case <-ctx.Done():
	}
	return nil
}

// follow gives a terminal the size of the one that somebody sits at.
func follow(terminal *os.File, sizes <-chan remotecommand.TerminalSize) {
	for size := range sizes {
		_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width})
	}
}

func (c streamed) PortForward(_ context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	c.mutex.Lock()
	found := c.sandboxes[id]
	c.mutex.Unlock()
	if found == nil {
		return fmt.Errorf("no pod sandbox %q", id)
	}
	connection, err := dialInside(found.holder.Process.Pid, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		_, _ = io.Copy(connection, stream)
		_ = connection.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, connection)
	return err
}

// dialInside connects in the network namespace of a process.
func dialInside(process int, address string) (net.Conn, error) {
	type result struct {
		connection net.Conn
		err        error
	}
	done := make(chan result)
	go func() {
		// Never unlocked: the thread is in another network now, and ends with this goroutine.
		runtime.LockOSThread()
		connection, err := func() (net.Conn, error) {
			namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", process))
			if err != nil {
				return nil, err
			}
			defer namespace.Close()
			if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			return net.Dial("tcp", address)
		}()
		done <- result{connection, err}
	}()
	answer := <-done
	return answer.connection, answer.err
}
