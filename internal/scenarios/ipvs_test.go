package scenarios

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
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
						checkOwnSource(t, s, v)
						checkParse(t, "", v.Rules.Ruleset)
						checkVirtualParse(t, v)
					}
					fresh, next := rendersVirtual(s)
					checkShuffled(t, s, family, fresh)
					checkIncremental(t, s, family, fresh, next)
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
		checkCase(t, why, c, tr)
	}
}

// checkOwnSource has the node send to each Service address from that very address, as
// it does where kube-ipvs0 has it. Nobody elsewhere could answer that.
func checkOwnSource(t *testing.T, s *Scenario, v *IPVS) {
	t.Helper()
	tr, err := v.Tracer(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range v.Compiled.Servers {
		at := server.Place.Addr
		if !v.bound(at.Addr()) {
			continue
		}
		p := tracer.Packet{
			Protocol: strings.ToLower(string(server.Place.Protocol)), Src: at.Addr(), SrcPort: 40000, Dst: at.Addr(), DstPort: at.Port(),
		}
		result, err := tr.Trace(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range result.Outcomes {
			here := slices.Contains(s.Addresses(), o.DNAT.Addr())
			if o.Verdict == tracer.Accept && !here && !o.Masquerade && !o.SNAT.IsValid() {
				t.Errorf("the node sends to %s with that address as source, and to %s, too", server.Place, o.DNAT)
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

// rendersVirtual is rendersRules for all of this mode.
func rendersVirtual(s *Scenario) (fresh, next rendering) {
	var v *IPVS
	fresh = func(state *proxier.State) string { return s.IPVS(nil, state, iptables.AllFeatures()).String() }
	next = func(state *proxier.State) string {
		v = s.IPVS(v, state, iptables.AllFeatures())
		return v.String()
	}
	return fresh, next
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
