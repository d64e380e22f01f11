package scenarios

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A history is what was made last, in both modes.
type history struct {
	state *proxier.State
	rules *iptables.Compiled
	ipvs  *IPVS
}

// step makes on top of it what the objects ask for on the scenario's node, and says in
// what that differs from what is made of them alone.
func (h *history) step(s *Scenario, objects *proxier.Snapshot, family proxier.Family, features iptables.Features) string {
	h.state = proxier.Build(h.state, objects, s.Config.Options(family))
	h.rules = iptables.Compile(h.rules, h.state, s.IPTablesOptions(features))
	h.ipvs = s.IPVS(h.ipvs, h.state, features)
	fresh := proxier.Build(nil, objects, s.Config.Options(family))
	rules := iptables.Compile(nil, fresh, s.IPTablesOptions(features))
	for _, made := range []struct{ what, alone, after string }{
		{"another State", fresh.String(), h.state.String()},
		{"other rules", rules.Ruleset.String(), h.rules.Ruleset.String()},
		{"something else in IPVS mode", s.IPVS(nil, fresh, features).String(), h.ipvs.String()},
	} {
		if diff := cmp.Diff(made.alone, made.after); diff != "" {
			return made.what + " (- alone, + after):\n" + diff
		}
	}
	return ""
}

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
		var past history
		before := "nothing"
		for _, s := range all {
			if diff := past.step(s, s.Snapshot(), family, iptables.AllFeatures()); diff != "" {
				t.Errorf("%s, after %s, has %s", s.Name, before, diff)
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
		var past history
		for range 300 {
			s := same[random.IntN(len(same))]
			change(store, random, s)
			if diff := past.step(s, store.Snapshot(), family, iptables.AllFeatures()); diff != "" {
				t.Fatalf("after a change from %s there is %s", s.Name, diff)
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
			var past history
			for range 5 {
				other := changed[random.IntN(len(changed))]
				snapshot := &proxier.Snapshot{Services: snapshot.Services, Node: other.Objects.Node}
				features := iptables.AllFeatures()
				features.BPF = random.IntN(2) == 0
				if diff := past.step(other, snapshot, family, features); diff != "" {
					t.Fatalf("%s, changed to the configuration of %s, has %s", s.Name, other.Name, diff)
				}
			}
		}
	}
}
