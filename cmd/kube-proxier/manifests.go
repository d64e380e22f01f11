package main

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// addManifestsFlag adds the flag that names the files.
func addManifestsFlag(set *pflag.FlagSet, path *string, shorthand, otherwise string) {
	set.StringVarP(path, "manifests", shorthand, "", "Read Services, EndpointSlices and Nodes from this `path`, a file or folder or - for standard input, "+otherwise+", e.g. --manifests=services.yaml.")
}

// readManifests reads them once into a store. What cannot be used is printed.
func readManifests(m *source.Manifests, problems io.Writer) (*proxier.Store, int, error) {
	objects, found, err := m.Load()
	if err != nil {
		return nil, 0, err
	}
	printProblems(problems, found)
	store := proxier.NewStore()
	source.Fill(store, objects)
	store.SetSynced()
	return store, len(found), nil
}

func printProblems(out io.Writer, problems []proxier.Problem) {
	for _, p := range problems {
		fmt.Fprintln(out, "problem:", p)
	}
}
