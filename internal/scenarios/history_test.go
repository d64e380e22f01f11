package scenarios

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestHistory goes from each scenario to another one, each State and each
// ruleset made from the one before. Many scenarios have Services of the same
// name, so that all that can change in a Service does: policies, ports,
// addresses, endpoints, hints, and with them the configuration and the node.
// What comes out must not depend on what was before.
func TestHistory(t *testing.T) {
	all, err := LoadAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, family := range proxier.Families {
		var state *proxier.State
		var compiled *iptables.Compiled
		before := "nothing"
		for _, s := range all {
			options := s.IPTablesOptions(iptables.AllFeatures())
			state = proxier.Build(state, s.Snapshot(), s.Config.Options(family))
			compiled = iptables.Compile(compiled, state, options)
			fresh := s.State(family)
			if diff := cmp.Diff(fresh.String(), state.String()); diff != "" {
				t.Errorf("%s, after %s, has another State (- alone, + after):\n%s", s.Name, before, diff)
			}
			want := iptables.Compile(nil, fresh, options).Ruleset.String()
			if diff := cmp.Diff(want, compiled.Ruleset.String()); diff != "" {
				t.Errorf("%s, after %s, has other rules (- alone, + after):\n%s", s.Name, before, diff)
			}
			before = s.Name
		}
	}
}

// TestHistoryOfOneNode is the same for the scenarios that change neither the
// configuration nor the node, so that every State can take over from the last.
func TestHistoryOfOneNode(t *testing.T) {
	all, err := LoadAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	var same []*Scenario
	for _, s := range all {
		if s.section(sectionConfig) == "" && cmp.Equal(s.Objects.Node, standardNode()) {
			same = append(same, s)
		}
	}
	if len(same) < len(all)/2 {
		t.Errorf("only %d of %d scenarios are of the standard node", len(same), len(all))
	}
	random := rand.New(rand.NewPCG(5, 6))
	for _, family := range proxier.Families {
		store := proxier.NewStore()
		store.SetNode(standardNode())
		var state *proxier.State
		var compiled *iptables.Compiled
		for range 300 {
			s := same[random.IntN(len(same))]
			change(store, random, s)
			snapshot := store.Snapshot()
			options := s.IPTablesOptions(iptables.AllFeatures())
			state = proxier.Build(state, snapshot, s.Config.Options(family))
			compiled = iptables.Compile(compiled, state, options)
			fresh := proxier.Build(nil, snapshot, s.Config.Options(family))
			if diff := cmp.Diff(fresh.String(), state.String()); diff != "" {
				t.Fatalf("after a change from %s the State depends on history (- alone, + after):\n%s", s.Name, diff)
			}
			want := iptables.Compile(nil, fresh, options).Ruleset.String()
			if diff := cmp.Diff(want, compiled.Ruleset.String()); diff != "" {
				t.Fatalf("after a change from %s the rules depend on history (- alone, + after):\n%s", s.Name, diff)
			}
		}
	}
}

// change brings some of a scenario's objects into the store and takes some
// away that have the same names: Services of different scenarios mix.
func change(store *proxier.Store, random *rand.Rand, s *Scenario) {
	for _, object := range s.Objects.Services {
		switch random.IntN(4) {
		case 0:
			store.DeleteService(nameOf(object))
		case 1:
		default:
			store.SetService(object)
		}
	}
	for _, object := range s.Objects.EndpointSlices {
		switch random.IntN(4) {
		case 0:
			store.DeleteEndpointSlice(nameOf(object))
		case 1:
		default:
			store.SetEndpointSlice(object)
		}
	}
}

// TestChangedConfiguration serves the objects of one scenario with the
// configurations and the nodes of others, one after the other: objects that
// stay the same must not keep what was decided for another configuration, or
// what was written for a kernel with other features.
func TestChangedConfiguration(t *testing.T) {
	all, err := LoadAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	var changed []*Scenario
	for _, s := range all {
		if s.section(sectionConfig) != "" || !cmp.Equal(s.Objects.Node, standardNode()) {
			changed = append(changed, s)
		}
	}
	random := rand.New(rand.NewPCG(7, 8))
	for _, s := range all {
		for _, family := range proxier.Families {
			snapshot := s.Snapshot()
			var state *proxier.State
			var compiled *iptables.Compiled
			for range 5 {
				other := changed[random.IntN(len(changed))]
				snapshot := &proxier.Snapshot{Services: snapshot.Services, Node: other.Objects.Node}
				features := iptables.AllFeatures()
				features.BPF = random.IntN(2) == 0
				options := other.IPTablesOptions(features)
				state = proxier.Build(state, snapshot, other.Config.Options(family))
				compiled = iptables.Compile(compiled, state, options)
				fresh := proxier.Build(nil, snapshot, other.Config.Options(family))
				if diff := cmp.Diff(fresh.String(), state.String()); diff != "" {
					t.Fatalf("%s, changed to the configuration of %s, has another State (- alone, + after):\n%s", s.Name, other.Name, diff)
				}
				want := iptables.Compile(nil, fresh, options).Ruleset.String()
				if diff := cmp.Diff(want, compiled.Ruleset.String()); diff != "" {
					t.Fatalf("%s, changed to the configuration of %s, has other rules (- alone, + after):\n%s", s.Name, other.Name, diff)
				}
			}
		}
	}
}
