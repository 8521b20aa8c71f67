// Command kubernetes is etcd and all of Kubernetes' programs in one binary: the first argument says
// which. The lab and the tests of the live cluster run against these, because only the real ones
// page, watch, validate, forbid, schedule and probe as the real ones do.
//
// With --until-stdin-closes=DIRECTORY before the part, the process ends when its standard input is
// closed, and removes the directory: a test that is killed leaves nothing behind.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	arguments := os.Args[1:]
	if len(arguments) > 0 {
		if directory, found := strings.CutPrefix(arguments[0], "--until-stdin-closes="); found {
			go endWithStdin(directory)
			arguments = arguments[1:]
		}
	}
	// By the name of one of its parts, the binary is that part: kubectl is a link.
	if name := filepath.Base(os.Args[0]); name != "kubernetes" {
		arguments = append([]string{name}, arguments...)
	}
	if len(arguments) == 0 {
		usage()
	}
	part := arguments[0]
	os.Args = append([]string{filepath.Join(filepath.Dir(os.Args[0]), part)}, arguments[1:]...)
	switch part {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		run(controllers.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	case "kube-proxy":
		run(proxy.NewProxyCommand())
	case "kubelet":
		run(kubelet.NewKubeletCommand(context.Background()))
	case "kubectl":
		run(kubectl.NewDefaultKubectlCommand())
	case "coredns":
		// CoreDNS's own list of plugins is generated for its full build.
		dnsserver.Directives = []string{"errors", "kubernetes"}
		coremain.Run()
	case "service-account-key":
		if len(os.Args) != 2 {
			usage()
		}
		if err := writeKey(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		usage()
	}
}

// endWithStdin ends the process at the latest when the one that started it is gone, however it went.
func endWithStdin(directory string) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = os.RemoveAll(directory)
	os.Exit(0)
}

// writeKey makes a key that the API server signs service account tokens with.
func writeKey(file string) error {
	key, err := keyutil.MakeEllipticPrivateKeyPEM()
	if err != nil {
		return err
	}
	return keyutil.WriteKey(file, key)
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: kubernetes [--until-stdin-closes=DIRECTORY] PART FLAGS")
	fmt.Fprintln(os.Stderr, "       kubernetes service-account-key FILE")
	fmt.Fprintln(os.Stderr, "parts: etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl coredns")
	os.Exit(2)
}
