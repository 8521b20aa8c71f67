package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
)

// The machine's networks. They are its own, so they can be the same on every machine.
const (
	nodeIP         = "10.0.0.1"
	serviceNetwork = "10.96.0.0/16"
	podNetwork     = "10.244.0.0/16"
)

// setUpNetwork makes the machine a router with one address.
func setUpNetwork() error {
	if err := ip(
		"link set lo up",
		"address add "+nodeIP+"/32 dev lo",
		// Where to does not matter, kube-proxy changes the destination; but without a route it is not asked.
		"route add "+serviceNetwork+" dev lo src "+nodeIP,
	); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

var pods atomic.Uint32

// attachPod connects the network namespace of a process with the machine, and returns its address.
//
// Every pod is a host of its own on a point-to-point link: what it sends to another pod is routed, so
// that kube-proxy's translation of Service addresses is undone on the way back.
func attachPod(process int) (string, error) {
	number := pods.Add(1) + 1
	address := fmt.Sprintf("10.244.%d.%d", number/254, number%254+1)
	link := fmt.Sprintf("pod%d", number)
	if err := ip(
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", link, process),
		"link set "+link+" up",
		fmt.Sprintf("route add %s/32 dev %s src %s", address, link, nodeIP),
	); err != nil {
		return "", err
	}
	return address, batch([]string{"nsenter", "--target", strconv.Itoa(process), "--net", "ip", "-batch", "-"},
		"link set lo up",
		"link set eth0 up",
		"address add "+address+"/32 dev eth0",
		"route add "+nodeIP+" dev eth0",
		"route add default via "+nodeIP+" dev eth0",
	)
}

// ip runs commands of iproute2 on the machine.
func ip(lines ...string) error {
	return batch([]string{"ip", "-batch", "-"}, lines...)
}

// batch runs a program with lines on its standard input.
func batch(words []string, lines ...string) error {
	process := exec.Command(words[0], words[1:]...)
	process.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if output, err := process.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, output)
	}
	return nil
}
