// Command machine is a Kubernetes node with an Istio mesh on it, made of plain processes.
//
//	machine PROGRAMS DIRECTORY
//
// It takes the programs from PROGRAMS (tests/lab/build makes it), lives in namespaces of its own
// (network, mounts, processes), and prints "ready" when the mesh is up. DIRECTORY then holds a
// kubeconfig, the programs' logs and the socket `control` (control.go). When its standard input is
// closed, or when it ends in any other way, the kernel takes all of it away: processes end with
// their namespace, and links and mounts with theirs.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// inside is the first argument of the process that lives in the namespaces.
const inside = "inside"

func main() {
	var err error
	switch arguments := os.Args[1:]; {
	case len(arguments) == 3 && arguments[0] == inside:
		err = run(arguments[1], arguments[2])
	case len(arguments) == 2:
		err = enclose(arguments[0], arguments[1])
	default:
		err = errors.New("usage: machine PROGRAMS DIRECTORY")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		os.Exit(1)
	}
}

// enclose starts the machine in its namespaces, and ends it when nobody needs it any longer.
//
// The API server's address on the host is opened here, before the network is another one: a socket
// stays in the network that it was made in.
func enclose(programs, directory string) error {
	if strings.HasPrefix(directory, "/var/") {
		return fmt.Errorf("%s: the machine has a /var of its own; choose another place", directory)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	if err := writeUsers(directory, "https://"+listener.Addr().String()); err != nil {
		return err
	}

	machine := exec.Command("/proc/self/exe", inside, programs, directory)
	machine.Args[0] = "machine"
	machine.Stdout, machine.Stderr = os.Stdout, os.Stderr
	machine.ExtraFiles = []*os.File{socket}
	machine.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig: syscall.SIGKILL,
	}
	// The death signal is sent when the thread ends that started the process.
	runtime.LockOSThread()
	if err := machine.Start(); err != nil {
		return fmt.Errorf("namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- machine.Wait() }()
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	select {
	case err := <-ended:
		// The directory stays, with the logs that say why.
		return err
	case <-closed:
	case <-signals:
	}
	// The first process of a process namespace takes all others with it.
	_ = machine.Process.Kill()
	<-ended
	return os.RemoveAll(directory)
}

// run is the machine, seen from inside.
func run(programs, directory string) error {
	state, err := mountAll(directory)
	if err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	if err := os.Setenv("TMPDIR", "/var/tmp"); err != nil {
		return err
	}
	if err := setUpNetwork(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	listener, err := net.FileListener(os.NewFile(3, "host"))
	if err != nil {
		return err
	}
	calls := newRecorder("127.0.0.1:6443")
	go calls.serve(listener, directory)

	containers := newContainers(imagesOf(programs))
	if err := containers.serve(runtimeSocket); err != nil {
		return fmt.Errorf("container runtime: %w", err)
	}
	go containers.serveTargets()
	cluster := newCluster(programs, directory, state)
	if err := cluster.control(filepath.Join(directory, "control"), calls); err != nil {
		return err
	}
	if err := cluster.start(); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}
