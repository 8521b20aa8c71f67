// Command control-plane is etcd, kube-apiserver and kube-controller-manager in one binary: the
// first argument says which. The lab and the tests of the live cluster run against these, because
// only the real API server pages, watches, validates and forbids as the real one does.
//
// With --until-stdin-closes=DIRECTORY before the part, the process ends when its standard input is
// closed, and removes the directory: a test that is killed leaves nothing behind.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	arguments := os.Args[1:]
	if len(arguments) > 0 {
		if directory, found := strings.CutPrefix(arguments[0], "--until-stdin-closes="); found {
			go endWithStdin(directory)
			arguments = arguments[1:]
		}
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
	fmt.Fprintln(os.Stderr, "usage: control-plane [--until-stdin-closes=DIRECTORY] etcd|kube-apiserver|kube-controller-manager FLAGS")
	fmt.Fprintln(os.Stderr, "       control-plane service-account-key FILE")
	os.Exit(2)
}
