package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

// writeUsers makes the cluster's users, and a kubeconfig for each:
//
//	kubeconfig   the administrator, who may do everything; `inside` is the same one's from inside
//	limited      a user who may do nothing until somebody grants it something
//
// Their tokens are random: the API server's address is open to everybody on this computer.
func writeUsers(directory, server string) error {
	administrator, limited := rand.Text(), rand.Text()
	tokens := fmt.Sprintf("%s,admin,1,\"system:masters\"\n%s,limited,2\n", administrator, limited)
	if err := os.WriteFile(filepath.Join(directory, "tokens.csv"), []byte(tokens), 0o600); err != nil {
		return err
	}
	for _, user := range []struct{ name, server, token string }{
		{"kubeconfig", server, administrator},
		{"inside", "https://127.0.0.1:6443", administrator},
		{"limited", server, limited},
	} {
		text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: %q, certificate-authority: %q, tls-server-name: kubernetes.default.svc}}]
users: [{name: lab, user: {token: %q}}]
contexts: [{name: lab, context: {cluster: lab, user: lab}}]
current-context: lab
`, user.server, filepath.Join(directory, "apiserver.crt"), user.token)
		if err := os.WriteFile(filepath.Join(directory, user.name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
