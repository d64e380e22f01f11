package main

import (
	"crypto/sha256"
	"os"
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// A kubeconfig is the file that said at the start how to reach the API server. It may
// hold secrets: a digest is kept, and not shown.
type kubeconfig struct {
	path   string // empty for none
	digest [sha256.Size]byte
}

// kubeconfigField is where the file is named.
const kubeconfigField = "clientConnection.kubeconfig"

// readKubeconfig comes before the connection is made, so that what is written
// meanwhile is taken for a change. A pipe is left to be read once.
func readKubeconfig(path string) kubeconfig {
	k := kubeconfig{path: reloadable(path)}
	if k.path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return kubeconfig{} // which ends the program, where it is needed
		}
		k.digest = sha256.Sum256(text)
	}
	return k
}

// changed adds to changes, which need a restart, that the file has another content
// now, unless another file is to take its place.
func (k kubeconfig) changed(changes []config.Change) []config.Change {
	if k.path == "" || slices.ContainsFunc(changes, func(c config.Change) bool { return c.Field == kubeconfigField }) {
		return changes
	}
	change := config.Change{Field: kubeconfigField, Old: "the content at the start", Restart: "the file is read at the start"}
	switch text, err := os.ReadFile(k.path); {
	case err != nil:
		change.New = "one that cannot be read: " + err.Error()
	case sha256.Sum256(text) != k.digest:
		change.New = "another one"
	default:
		return changes
	}
	return append(changes, change)
}
