package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// addManifestsFlag adds the flag that names the files.
func addManifestsFlag(set *pflag.FlagSet, path *string, shorthand, otherwise string) {
	set.VarP(&onePath{path}, "manifests", shorthand, "Read Services, EndpointSlices and Nodes from this `path`, a file or folder or - for standard input, "+otherwise+", e.g. --manifests=services.yaml.")
}

// onePath is the value of a flag that may be given once.
type onePath struct{ path *string }

// String implements pflag.Value.
func (p *onePath) String() string {
	if p.path == nil {
		return "" // pflag asks a zero value, to know what is no default
	}
	return *p.path
}

// Set implements pflag.Value.
func (p *onePath) Set(s string) error {
	switch {
	case s == "":
		return errors.New("must not be empty")
	case *p.path != "":
		return errors.New("is given twice: name a folder that has all files")
	}
	*p.path = s
	return nil
}

// Type implements pflag.Value.
func (*onePath) Type() string { return "path" }

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
