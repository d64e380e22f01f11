package reference

import (
	"flag"
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

var (
	seeds = flag.Uint64("seeds", 40, "how many random clusters are held against the model")
	first = flag.Uint64("seed", 0, "the first of them")
)

// In every mode, on every kernel, packets fare as the model says.
func TestTheModelAgreesWithTheRules(t *testing.T) {
	fates := map[string]int{}
	for seed := *first; seed < *first+*seeds; seed++ {
		compare(t, seed, fates)
		if t.Failed() {
			return
		}
	}
	t.Logf("compared: %v", fates)
	for _, fate := range []string{"-", "drop", "reject", "endpoints", "masq", "recent"} {
		if *seeds >= 40 && fates[fate] < 100 {
			t.Errorf("%d packets had the fate %q: the clusters say little about it", fates[fate], fate)
		}
	}
}

// FuzzTheModel looks for a cluster about which the model and the rules differ.
func FuzzTheModel(f *testing.F) {
	f.Add(uint64(1 << 40))
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, seed, map[string]int{}) })
}

// compare holds one cluster against the model, and counts fates.
func compare(t *testing.T, seed uint64, fates map[string]int) {
	t.Helper()
	crowd := clustergen.NewCrowd(seed)
	s := scenarioOf(t, crowd)
	for _, m := range modes {
		for _, family := range proxier.Families {
			d := disagree(t, s, m, family, fates)
			if d == nil {
				continue
			}
			small, d := shrink(t, crowd, d)
			t.Errorf("seed %d, mode %s: %s\nThe model wants %s. As a scenario:\n\n%s", seed, m.name, d.problem, d.want,
				fileOf(t, small, fmt.Sprintf("%s %s", d.line, d.want)))
			return
		}
	}
}

// A disagreement is about one packet.
type disagreement struct {
	mode    mode
	family  proxier.Family
	line    string
	want    packets.Want
	problem error
}

// disagree returns the first packet that does not fare as the model says; nil if
// there is none.
func disagree(t *testing.T, s *scenarios.Scenario, m mode, family proxier.Family, fates map[string]int) *disagreement {
	t.Helper()
	world := worldOf(t, s, m.proxyMode)
	tr, err := m.tracer(s, family)
	if err != nil {
		t.Fatalf("mode %s: %v", m.name, err)
	}
	for _, line := range packetsFor(s, family) {
		c, err := parsed(s, line)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := world.Fate(c.Packet)
		if !ok {
			fates["undefined"]++
			continue
		}
		count(fates, want)
		c.Want = want
		if err := c.Check(tr); err != nil {
			return &disagreement{m, family, line, want, err}
		}
	}
	return nil
}

func count(fates map[string]int, want packets.Want) {
	switch {
	case want.Verdict != tracer.Accept:
		fates[want.Verdict.String()]++
	case len(want.Endpoints) == 0:
		fates["-"]++
	default:
		fates["endpoints"]++
		if want.Endpoints[0].Masquerade {
			fates["masq"]++
		}
		if want.Recent {
			fates["recent"]++
		}
	}
}
