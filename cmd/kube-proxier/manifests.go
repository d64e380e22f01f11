package main

import (
	"context"
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
func readManifests(ctx context.Context, m *source.Manifests, problems io.Writer) (*proxier.Store, int, error) {
	store, found, err := loadManifests(ctx, m)
	printProblems(problems, found)
	return store, len(found), err
}

// loadManifests reads them once into a store, and says what cannot be used.
func loadManifests(ctx context.Context, m *source.Manifests) (*proxier.Store, []proxier.Problem, error) {
	type loaded struct {
		objects  *source.Objects
		problems []proxier.Problem
	}
	l, err := readUntil(ctx, nameOf(m.Path), func() (loaded, error) {
		objects, problems, err := m.Load()
		return loaded{objects, problems}, err
	})
	if err != nil {
		return nil, nil, err
	}
	store := proxier.NewStore()
	source.Fill(store, l.objects)
	store.SetSynced()
	return store, l.problems, nil
}

// nameOf is what people call a path.
func nameOf(path string) string {
	if path == source.Stdin {
		return "standard input"
	}
	return path
}

func printProblems(out io.Writer, problems []proxier.Problem) {
	for _, p := range problems {
		fmt.Fprintln(out, "problem:", p)
	}
}
