package packets

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// Check traces the case's packet through the rules. The error says what was
// wanted, what the rules do, and by which rules.
func (c Case) Check(t *tracer.Tracer) error {
	result, err := t.Trace(c.Packet)
	if err != nil {
		return fmt.Errorf("packets, line %d, %q: %w", c.Line, c.Text, err)
	}
	fates := fatesOf(result)
	if problem := c.compare(fates); problem != "" {
		return c.mismatch(t, problem, fates)
	}
	if problem := c.compareRecent(t, result); problem != "" {
		return c.mismatch(t, problem, fates)
	}
	return nil
}

// A fate is what a table can tell of an outcome: outcomes that differ in other
// things are one fate.
type fate struct {
	verdict    tracer.Verdict
	dnat       netip.AddrPort
	masquerade bool
}

func fateOf(o tracer.Outcome) fate {
	if o.Verdict != tracer.Accept {
		return fate{verdict: o.Verdict} // where it would have gone is no matter
	}
	return fate{dnat: o.DNAT, masquerade: o.Masquerade || o.SNAT.IsValid()}
}

// String is as in a table.
func (f fate) String() string {
	switch {
	case f.verdict != tracer.Accept:
		return f.verdict.String()
	case f.dnat.IsValid():
		return Endpoint{f.dnat, f.masquerade}.String()
	case f.masquerade:
		return "- masq"
	}
	return "-"
}

// fatesOf returns the probability of each fate.
func fatesOf(r tracer.Result) map[fate]float64 {
	fates := map[fate]float64{}
	for _, o := range r.Outcomes {
		fates[fateOf(o)] += o.Probability
	}
	return fates
}

// wanted are the fates of the expectation.
func (w Want) fates() []fate {
	if len(w.Endpoints) == 0 {
		return []fate{{verdict: w.Verdict, masquerade: w.Masquerade}}
	}
	var fates []fate
	for _, e := range w.Endpoints {
		fates = append(fates, fate{dnat: e.AddrPort, masquerade: e.Masquerade})
	}
	return fates
}

// compare says what is wrong with the fates; nothing if they are as wanted.
func (c Case) compare(have map[fate]float64) string {
	want := c.Want.fates()
	var problems []string
	for _, f := range want {
		p := have[f]
		switch {
		case p == 0:
			problems = append(problems, "missing: "+f.String())
		case len(have) == len(want) && math.Abs(p*float64(len(want))-1) > tolerance(len(want)):
			problems = append(problems, fmt.Sprintf("%s has a chance of %.9f, not 1/%d", f, p, len(want)))
		}
	}
	for _, f := range sortedFates(have) {
		if !slices.Contains(want, f) {
			problems = append(problems, "unexpected: "+f.String())
		}
	}
	return strings.Join(problems, "; ")
}

// tolerance is how far, in relation, the chance of one of n endpoints may be
// from 1/n: the kernel keeps probabilities in steps of 2⁻³¹, and on a chain of
// n choices these errors add up.
func tolerance(n int) float64 { return 1e-6 + float64(n)/(1<<31) }

func sortedFates(fates map[fate]float64) []fate {
	sorted := make([]fate, 0, len(fates))
	for f := range fates {
		sorted = append(sorted, f)
	}
	slices.SortFunc(sorted, func(a, b fate) int {
		return cmp.Or(cmp.Compare(a.verdict, b.verdict), a.dnat.Compare(b.dnat), strings.Compare(a.String(), b.String()))
	})
	return sorted
}

// compareRecent checks affinity: for each endpoint, that the client is
// remembered for it and, being remembered, gets that endpoint and is
// remembered anew.
func (c Case) compareRecent(t *tracer.Tracer, first tracer.Result) string {
	for _, o := range first.Outcomes {
		if o.Verdict != tracer.Accept {
			continue
		}
		switch remembered := len(o.Recent) > 0; {
		case remembered && !c.Want.Recent:
			return fmt.Sprintf("unexpected: on the way to %s the client is remembered in %s", fateOf(o), strings.Join(o.Recent, ", "))
		case !remembered && c.Want.Recent:
			return fmt.Sprintf("on the way to %s the client is not remembered", fateOf(o))
		case !remembered:
			continue
		}
		if problem := c.again(t, o); problem != "" {
			return problem
		}
	}
	return ""
}

// again sends the packet once more, of a client that is remembered as the
// outcome says.
func (c Case) again(t *tracer.Tracer, o tracer.Outcome) string {
	lists := map[string][]netip.Addr{}
	for _, list := range o.Recent {
		lists[list] = []netip.Addr{c.Packet.Src}
	}
	second, err := t.WithRecent(lists).Trace(c.Packet)
	if err != nil {
		return err.Error()
	}
	want := fateOf(o)
	for _, again := range second.Outcomes {
		switch {
		case fateOf(again) != want:
			return fmt.Sprintf("a client remembered for %s can get %s", want, fateOf(again))
		case len(again.Recent) == 0:
			return fmt.Sprintf("a client remembered for %s is not renewed", want)
		}
	}
	return ""
}

// mismatch explains a problem with the way of an outcome that is not wanted,
// or else of the first.
func (c Case) mismatch(t *tracer.Tracer, problem string, fates map[fate]float64) error {
	var have []string
	for _, f := range sortedFates(fates) {
		s := f.String()
		if len(fates) > 1 {
			s += fmt.Sprintf(" (p=%.3g)", fates[f])
		}
		have = append(have, s)
	}
	text := fmt.Sprintf("packets, line %d, %q: %s\nwant: %s\nhave: %s", c.Line, c.Text, problem, c.Want, strings.Join(have, ", "))
	paths, err := t.Paths(c.Packet)
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("%s", text)
	}
	i := max(0, slices.IndexFunc(paths, func(p tracer.Path) bool { return !slices.Contains(c.Want.fates(), fateOf(p.Outcome)) }))
	return fmt.Errorf("%s\nthe way to %s", text, paths[i])
}
