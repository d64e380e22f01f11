package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A target bounds what a figure of ours may be, as a part of kube-proxy's.
type target struct {
	name string
	// figure is what is compared; not ok where it was not measured.
	figure func(*Run) (v float64, ok bool)
	// unit prints a figure.
	unit func(float64) string
	// slack is up to where a figure of ours counts as nothing; it was chosen, not
	// measured.
	slack float64
	// most is the greatest part allowed, by whom it is compared with; see against.
	most map[string]float64
}

// The kinds of comparison.
const (
	againstNFT      = "kube-proxy iptables-nft"
	againstLegacy   = "kube-proxy iptables-legacy"
	againstNFTables = "kube-proxy nftables"
	againstIPVS     = "kube-proxy ipvs"
)

// parts are the parts of kube-proxy's iptables mode on both variants, and of its
// nftables mode.
func parts(iptables, nftables float64) map[string]float64 {
	return map[string]float64{againstNFT: iptables, againstLegacy: iptables, againstNFTables: nftables}
}

func targets() []target {
	change := parts(1.0/10, 1.0/50)
	change[againstLegacy], change[againstIPVS] = 1.0/4, 1.0/50
	start := parts(1.0/3, 1.0/5)
	start[againstIPVS] = 1.0 / 3
	us := func(v float64) string { return number(v) + " µs" }
	mib := func(v float64) string { return fmt.Sprintf("%.0f MiB", v) }
	return []target{
		{"first packet, random Service, added to no rules", added(WayRandom), us, 1, parts(1.0/20, 1)},
		{"pod-to-pod connection, added to no rules", added(WayPod), us, 1, parts(1.0/50, 1)},
		{"CPU of one changed endpoint", func(r *Run) (float64, bool) { return get(r.One, func(c *Changes) float64 { return c.CPU }) }, seconds, 0, change},
		{"API write to first packet, p50", func(r *Run) (float64, bool) { return get(r.One, func(c *Changes) float64 { return c.P50 }) }, seconds, 0, parts(1.0/5, 1.0/20)},
		{"CPU from start to all served", func(r *Run) (float64, bool) { return get(r.Start, func(s *Start) float64 { return s.CPU }) }, seconds, 0, start},
		{"CPU of a restart, kernel already right", func(r *Run) (float64, bool) { return get(r.Restart, func(s *Restart) float64 { return s.CPU }) }, seconds, 0, parts(1.0/5, 1.0/5)},
		{"resident memory", func(r *Run) (float64, bool) { return get(r.Memory, func(m *Memory) float64 { return m.Steady }) }, mib, 0, parts(1.0/2, 1.0/2)},
		{"CPU of an idle minute", func(r *Run) (float64, bool) { return get(r.Idle, (*Idle).perMinute) }, seconds, 0.005, parts(1, 1)},
	}
}

func get[T any](measured *T, figure func(*T) float64) (float64, bool) {
	if measured == nil {
		return 0, false
	}
	return figure(measured), true
}

// impossible is by how many µs a way may seem to be faster than the same without a
// proxy, before that shows that the machine was doing something else.
const impossible = 1

// added is what a way costs more than it does without a proxy; it was not measured
// where it seems to cost less.
func added(way string) func(*Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		p := r.packets(way)
		if p == nil || p.added() < -impossible {
			return 0, false
		}
		return max(0, p.added()), true
	}
}

// added is in µs.
func (p *Packets) added() float64 { return p.P50 - p.Base }

// A comparison is ours beside kube-proxy at one size.
type comparison struct {
	against string
	size    load.Size
	ours    *Run
	theirs  *Run
}

// comparisons are those that can be made, each at the largest size at which
// kube-proxy came to its end, or else at the largest. nftables mode compares with
// our iptables mode over the same kernel interface.
func comparisons(runs []*Run) []comparison {
	pairs := []struct{ against, ours string }{
		{againstNFT, subject.Kind{Program: subject.Ours, Mode: subject.IPTables, Variant: testenv.VariantNFT}.String()},
		{againstLegacy, subject.Kind{Program: subject.Ours, Mode: subject.IPTables, Variant: testenv.VariantLegacy}.String()},
		{againstNFTables, subject.Kind{Program: subject.Ours, Mode: subject.IPTables, Variant: testenv.VariantNFT}.String()},
		{againstIPVS, subject.Kind{Program: subject.Ours, Mode: subject.IPVS}.String()},
	}
	var all []comparison
	for _, pair := range pairs {
		var best *comparison
		for _, theirs := range runs {
			ours := find(runs, pair.ours, theirs.Size)
			if theirs.Kind.String() != pair.against || ours == nil {
				continue
			}
			if best == nil || theirs.Failed == "" || best.theirs.Failed != "" {
				best = &comparison{pair.against, theirs.Size, ours, theirs}
			}
		}
		if best != nil {
			all = append(all, *best)
		}
	}
	return all
}

func find(runs []*Run, kind string, size load.Size) *Run {
	for _, run := range runs {
		if run.Kind.String() == kind && run.Size == size {
			return run
		}
	}
	return nil
}

// verdictTable says for each target whether it is reached.
func verdictTable(runs []*Run) string {
	compared := comparisons(runs)
	if len(compared) == 0 {
		return "kube-proxy has not been measured beside it yet (`COMPARE=`).\n"
	}
	var b strings.Builder
	header := []string{"kube-proxier against"}
	for _, c := range compared {
		header = append(header, fmt.Sprintf("%s, %s × %d", c.against, thousands(c.size.Services), c.size.Endpoints))
	}
	b.WriteString(line(header) + strings.Repeat("|---", len(header)) + "|\n")
	for _, t := range targets() {
		cells := []string{t.name}
		for _, c := range compared {
			cells = append(cells, t.verdict(c))
		}
		b.WriteString(line(cells))
	}
	return b.String()
}

// verdict is the cell of a comparison; empty where there is no such target.
func (t target) verdict(c comparison) string {
	most, ok := t.most[c.against]
	if !ok {
		return ""
	}
	ours, ok1 := t.figure(c.ours)
	theirs, ok2 := t.figure(c.theirs)
	if !ok1 || !ok2 {
		return "not measured"
	}
	word := "**not reached**"
	if t.reached(ours, theirs, most) {
		word = "reached"
	}
	return fmt.Sprintf("%s: %s to %s, %s; want %s", word, t.unit(ours), t.unit(theirs), part(ours, theirs), atMost(most))
}

func (t target) reached(ours, theirs, most float64) bool { return ours <= max(theirs*most, t.slack) }

// part prints ours as a part of theirs.
func part(ours, theirs float64) string {
	switch {
	case ours == 0:
		return "nothing"
	case theirs == 0:
		return "where it has nothing"
	case ours > theirs:
		return number(ours/theirs) + " times"
	}
	return "1/" + number(theirs/ours)
}

func atMost(most float64) string {
	if most == 1 {
		return "no worse"
	}
	return fmt.Sprintf("1/%.0f", math.Round(1/most))
}
