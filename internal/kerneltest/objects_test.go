package kerneltest

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

const dumps = "../../testdata/dumps/"

func readConfig(t *testing.T) *config.Config {
	t.Helper()
	c, _, err := config.Load([]byte(testenv.Configuration), "node1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dumpObjects are those kube-proxy ran on when its rules were recorded.
func dumpObjects(t *testing.T) *source.Objects {
	t.Helper()
	objects, problems, err := (&source.Manifests{Path: dumps + "objects.json", NodeName: "node1"}).Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return objects
}

func dumpState(t *testing.T, family proxier.Family) *proxier.State {
	t.Helper()
	return stateOf(t, dumpObjects(t), family)
}

// parseObjects reads manifests; node1 is added.
func parseObjects(t *testing.T, manifests string) *source.Objects {
	t.Helper()
	m := source.Manifests{Path: source.Stdin, In: strings.NewReader(testenv.Node1Manifest + manifests), NodeName: "node1"}
	objects, problems, err := m.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return objects
}

func stateOf(t *testing.T, objects *source.Objects, family proxier.Family) *proxier.State {
	t.Helper()
	store := proxier.NewStore()
	source.Fill(store, objects)
	store.SetSynced()
	state := proxier.Build(nil, store.Snapshot(), readConfig(t).Options(family))
	for _, p := range state.Problems {
		t.Error(p)
	}
	return state
}

// castOf is objects and a packet table that are no file.
func castOf(t *testing.T, objects *source.Objects, table string) *cast {
	t.Helper()
	return fullCast(t, &scenarios.Scenario{Config: readConfig(t), Objects: objects, Packets: table})
}

// fullCast is a scenario all of whose packets can be sent.
func fullCast(t *testing.T, s *scenarios.Scenario) *cast {
	t.Helper()
	c, err := newCast(s)
	if err != nil {
		t.Fatal(err)
	}
	for reason := range c.skipped {
		t.Fatalf("the packet table has one that cannot be sent: %s", reason)
	}
	return c
}
