package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// patience is how long a part may take to come up, on a machine that compiles at the same time.
const patience = 3 * time.Minute

// cluster is the programs of Kubernetes, with Istio in it.
type cluster struct {
	programs, directory, state string

	mutex   sync.Mutex
	running map[string]*exec.Cmd
}

func newCluster(programs, directory, state string) *cluster {
	return &cluster{programs: programs, directory: directory, state: state, running: map[string]*exec.Cmd{}}
}

// start brings everything up, in the order in which one needs the other.
func (c *cluster) start() error {
	if err := c.prepare(); err != nil {
		return err
	}
	for _, part := range []string{"etcd", "kube-apiserver"} {
		if err := c.startPart(part); err != nil {
			return err
		}
	}
	if err := c.wait("kube-apiserver", "get", "--raw", "/readyz"); err != nil {
		return err
	}
	// Definitions of kinds before the controllers: garbage collection would learn of them late.
	manifests := filepath.Join(c.programs, "istio.yaml")
	if err := c.wait("Istio's manifests", "apply", "--server-side", "-f", manifests); err != nil {
		return err
	}
	for _, part := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "kubelet"} {
		if err := c.startPart(part); err != nil {
			return err
		}
	}
	return c.wait("istiod", "rollout", "status", "deployment/istiod", "--namespace=istio-system", "--timeout=10s")
}

// startPart starts one of the programs, with its log in DIRECTORY/logs.
func (c *cluster) startPart(name string) error {
	flags, found := c.flags()[name]
	if !found {
		return fmt.Errorf("the lab has no part %q", name)
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.running[name] != nil {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(c.directory, "logs", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	part := exec.Command(filepath.Join(c.programs, "kubernetes"), append([]string{name}, flags...)...)
	part.Dir, part.Stdout, part.Stderr = c.state, log, log
	if err := part.Start(); err != nil {
		return err
	}
	c.running[name] = part
	go func() {
		_ = part.Wait()
		c.mutex.Lock()
		defer c.mutex.Unlock()
		if c.running[name] == part {
			delete(c.running, name)
		}
	}()
	return nil
}

// stopPart kills one of the programs, as a crash would.
func (c *cluster) stopPart(name string) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	part := c.running[name]
	if part == nil {
		return fmt.Errorf("%q does not run", name)
	}
	delete(c.running, name)
	return part.Process.Kill()
}

// wait repeats a kubectl command until it succeeds.
func (c *cluster) wait(what string, arguments ...string) error {
	for until := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		kubectl := exec.Command(filepath.Join(c.programs, "kubernetes"),
			append([]string{"kubectl", "--kubeconfig=" + c.kubeconfig()}, arguments...)...)
		var output bytes.Buffer
		kubectl.Stdout, kubectl.Stderr = &output, &output
		err := kubectl.Run()
		if err == nil {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s did not come up; see %s: %s", what, filepath.Join(c.directory, "logs"), output.Bytes())
		}
	}
}
