package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// kubeconfig is the administrator's way to the API server from inside.
func (c *cluster) kubeconfig() string { return filepath.Join(c.directory, "inside") }

// prepare writes the files that the programs read.
func (c *cluster) prepare() error {
	if err := os.MkdirAll(filepath.Join(c.directory, "logs"), 0o755); err != nil {
		return err
	}
	files := map[string]string{
		"Corefile":     fmt.Sprintf(".:53 {\n errors\n kubernetes cluster.local {\n  kubeconfig %s lab\n }\n}\n", c.kubeconfig()),
		"kubelet.yaml": kubeletConfiguration,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.state, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return exec.Command(filepath.Join(c.programs, "kubernetes"), "service-account-key", filepath.Join(c.state, "service-account.key")).Run()
}

// authority vouches for the API server, which writes this file itself.
func (c *cluster) authority() string { return filepath.Join(c.directory, "apiserver.crt") }

// flags of each part.
func (c *cluster) flags() map[string][]string {
	state := func(name string) string { return filepath.Join(c.state, name) }
	return map[string][]string{
		"etcd": {"--data-dir=" + state("etcd"), "--unsafe-no-fsync=true", "--log-level=warn"},
		"kube-apiserver": {
			"--etcd-servers=http://127.0.0.1:2379",
			"--advertise-address=" + nodeIP,
			"--cert-dir=" + c.directory,
			"--service-account-key-file=" + state("service-account.key"),
			"--service-account-signing-key-file=" + state("service-account.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-cluster-ip-range=" + serviceNetwork,
			"--token-auth-file=" + filepath.Join(c.directory, "tokens.csv"),
			"--authorization-mode=RBAC",
			"--allow-privileged=true",
			"--kubelet-preferred-address-types=InternalIP",
		},
		"kube-controller-manager": {
			"--kubeconfig=" + c.kubeconfig(),
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + state("service-account.key"),
			"--root-ca-file=" + c.authority(),
			"--cluster-cidr=" + podNetwork,
			"--flex-volume-plugin-dir=" + state("volume-plugins"),
		},
		"kube-scheduler": {"--kubeconfig=" + c.kubeconfig(), "--leader-elect=false"},
		"kube-proxy": {
			"--kubeconfig=" + c.kubeconfig(),
			"--proxy-mode=nftables",
			"--cluster-cidr=" + podNetwork,
			"--hostname-override=machine",
			// These limits belong to the host.
			"--conntrack-max-per-core=0", "--conntrack-min=0",
		},
		"coredns": {"-conf", state("Corefile")},
		"kubelet": {
			"--config=" + state("kubelet.yaml"),
			"--kubeconfig=" + c.kubeconfig(),
			"--hostname-override=machine",
			"--node-ip=" + nodeIP,
		},
	}
}

// kubeletConfiguration is for a machine without control groups of its own.
const kubeletConfiguration = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://` + runtimeSocket + `
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: ["` + nodeIP + `"]
evictionHard: {imagefs.available: 0%, memory.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%}
imageGCHighThresholdPercent: 100
imageMaximumGCAge: 0s
localStorageCapacityIsolation: false
makeIPTablesUtilChains: false
maxPods: 500
podPidsLimit: -1
registerNode: true
resolvConf: ""
serializeImagePulls: false
syncFrequency: 5s
volumePluginDir: /var/lib/volume-plugins
# The default is 5 pods a second.
kubeAPIQPS: 200
kubeAPIBurst: 200
# Settings of the kernel are the host's.
featureGates: {KubeletInUserNamespace: true}
`
