package scenarios

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestIPVS has the packets of all scenarios travel in IPVS mode.
func TestIPVS(t *testing.T) {
	for _, path := range scenarioPaths(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			s, err := Load(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range proxier.Families {
				t.Run(string(family), func(t *testing.T) {
					without := iptables.AllFeatures()
					without.BPF = false
					for _, features := range []iptables.Features{iptables.AllFeatures(), without} {
						v := s.IPVS(nil, s.State(family), features)
						checkVirtualPackets(t, s, v)
						checkParse(t, "", v.Rules.Ruleset)
						checkVirtualParse(t, v)
					}
					checkVirtualShuffled(t, s, family)
					checkVirtualIncremental(t, s, family)
				})
			}
		})
	}
}

// checkVirtualPackets sends the packets.
func checkVirtualPackets(t *testing.T, s *Scenario, v *IPVS) {
	t.Helper()
	tr, err := v.Tracer(s)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := s.Cases(v.State.Family)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		c, why, ok := virtualCase(v, c)
		if !ok {
			continue
		}
		if err := c.Check(tr); err != nil {
			t.Errorf("%s%v", why, err)
			continue
		}
		result, err := tr.Trace(c.Packet)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range result.Outcomes {
			if o.RulesWalked >= maxWalk {
				t.Errorf("packets, line %d, %q: walks %d rules, want fewer than %d", c.Line, c.Text, o.RulesWalked, maxWalk)
			}
		}
	}
}

// checkVirtualParse reads virtual servers and sets back.
func checkVirtualParse(t *testing.T, v *IPVS) {
	t.Helper()
	servers, err := ipvs.Parse(ipvs.Text(v.Compiled.Servers))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ipvs.Text(v.Compiled.Servers), ipvs.Text(servers)); diff != "" {
		t.Errorf("virtual servers, printed and read back (- printed, + read):\n%s", diff)
	}
	sets, err := ipset.Parse(ipset.Text(v.Compiled.Sets))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v.Compiled.Sets, sets, cmpopts.EquateEmpty(), cmpopts.EquateComparable(ipset.Entry{})); diff != "" {
		t.Errorf("sets, printed and read back (- printed, + read):\n%s", diff)
	}
}

// checkVirtualShuffled gives the objects in other orders.
func checkVirtualShuffled(t *testing.T, s *Scenario, family proxier.Family) {
	t.Helper()
	want := s.IPVS(nil, s.State(family), iptables.AllFeatures()).String()
	random := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		objects := *s.Objects
		objects.Services = shuffled(random, objects.Services)
		objects.EndpointSlices = shuffled(random, objects.EndpointSlices)
		state := proxier.Build(nil, snapshot(&objects), s.Config.Options(family))
		if diff := cmp.Diff(want, s.IPVS(nil, state, iptables.AllFeatures()).String()); diff != "" {
			t.Fatalf("another order of the objects gives something else:\n%s", diff)
		}
	}
}

// checkVirtualIncremental adds the objects one by one, and removes them again.
func checkVirtualIncremental(t *testing.T, s *Scenario, family proxier.Family) {
	t.Helper()
	var v *IPVS
	var state *proxier.State
	store := proxier.NewStore()
	store.SetNode(s.Objects.Node)
	step := func() {
		state = proxier.Build(state, store.Snapshot(), s.Config.Options(family))
		v = s.IPVS(v, state, iptables.AllFeatures())
	}
	step()
	idle := v.String()
	for _, object := range s.Objects.EndpointSlices {
		store.SetEndpointSlice(object)
		step()
	}
	for _, object := range s.Objects.Services {
		store.SetService(object)
		step()
	}
	for _, object := range s.Objects.OtherNodes {
		store.SetOtherNode(object)
		step()
	}
	if diff := cmp.Diff(s.IPVS(nil, s.State(family), iptables.AllFeatures()).String(), v.String()); diff != "" {
		t.Errorf("objects that come one by one give something else (- at once, + one by one):\n%s", diff)
	}
	for _, object := range s.Objects.EndpointSlices {
		store.DeleteEndpointSlice(nameOf(object))
		step()
	}
	for _, object := range s.Objects.Services {
		store.DeleteService(nameOf(object))
		step()
	}
	for _, object := range s.Objects.OtherNodes {
		store.DeleteOtherNode(object.Name)
		step()
	}
	if diff := cmp.Diff(idle, v.String()); diff != "" {
		t.Errorf("something stays after all objects are gone:\n%s", diff)
	}
}

// Each difference is met by some scenario: one that nothing shows any more has to
// go, here and in the documentation.
func TestEachDifferenceIsShown(t *testing.T) {
	shown := map[string]bool{}
	for _, path := range scenarioPaths(t) {
		s, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range proxier.Families {
			v := s.IPVS(nil, s.State(family), iptables.AllFeatures())
			cases, err := s.Cases(family)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				for _, d := range differences {
					if d.is(v, c) && (d.want == nil || c.Want.String() != d.want.String()) {
						shown[d.why] = true
					}
				}
			}
		}
	}
	for _, d := range differences {
		if !shown[d.why] {
			t.Errorf("no scenario shows that %s", d.why)
		}
	}
}
