package tracer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Verdict is what becomes of a packet.
type Verdict int

// The verdicts. A rejected packet's sender hears of it.
const (
	Accept Verdict = iota
	Drop
	Reject
)

// String is "accept", "drop" or "reject".
func (v Verdict) String() string {
	switch v {
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	case Reject:
		return "reject"
	}
	return fmt.Sprintf("Verdict(%d)", int(v))
}

// A Result is everything that can become of a packet.
type Result struct {
	// Outcomes differ from each other in more than probability; they are
	// sorted by verdict, then DNAT, then the rest.
	Outcomes []Outcome
}

// An Outcome is one thing that can become of a packet.
type Outcome struct {
	// Probability is above 0; those of a Result add up to 1.
	Probability float64
	Verdict     Verdict
	// DNAT is the destination a DNAT rule gave the packet; the zero value if
	// none did. A packet that is dropped afterwards keeps it.
	DNAT netip.AddrPort
	// Masquerade is set when a MASQUERADE rule rewrites the source; SNAT is
	// the source an SNAT rule gives (port 0: unchanged).
	Masquerade bool
	SNAT       netip.AddrPort
	// Recent are the xt_recent lists the client was added to or renewed in,
	// in the order of the rules.
	Recent []string
	// RulesWalked is how many rules were looked at in all hooks together, on
	// the longest way to this outcome.
	RulesWalked int
}

// String reads as "accept, to 10.0.0.1:80, masquerade, p=0.500".
func (o Outcome) String() string {
	var b strings.Builder
	b.WriteString(o.Verdict.String())
	if o.DNAT.IsValid() {
		fmt.Fprintf(&b, ", to %s", o.DNAT)
	}
	if o.Masquerade {
		b.WriteString(", masquerade")
	}
	if o.SNAT.IsValid() {
		fmt.Fprintf(&b, ", from %s", o.SNAT)
	}
	if len(o.Recent) > 0 {
		fmt.Fprintf(&b, ", recent %s", strings.Join(o.Recent, " "))
	}
	if o.Probability != 1 {
		fmt.Fprintf(&b, ", p=%.3g", o.Probability)
	}
	return b.String()
}

// Trace follows the packet. It is an error if the packet cannot be: without
// addresses, of another family than the rules, or of an unknown protocol.
func (t *Tracer) Trace(p Packet) (Result, error) {
	ends, err := t.outcomes(p, false)
	if err != nil {
		return Result{}, err
	}
	var r Result
	for _, e := range ends {
		r.Outcomes = append(r.Outcomes, e.Outcome)
	}
	return r, nil
}

// ending is an outcome and the way of its most probable branch.
type ending struct {
	Outcome
	trail *trail
	best  float64
}

// outcomeKey is all of an outcome that tells it from another.
type outcomeKey struct {
	verdict    Verdict
	dnat, snat netip.AddrPort
	masquerade bool
	recent     string
}

func (k outcomeKey) compare(l outcomeKey) int {
	return cmp.Or(
		cmp.Compare(k.verdict, l.verdict),
		k.dnat.Compare(l.dnat),
		k.snat.Compare(l.snat),
		boolCompare(k.masquerade, l.masquerade),
		strings.Compare(k.recent, l.recent),
	)
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// outcomes merges the ends of all branches.
func (t *Tracer) outcomes(p Packet, record bool) ([]*ending, error) {
	start, err := t.newFlow(p)
	if err != nil {
		return nil, err
	}
	byKey := map[outcomeKey]*ending{}
	w := walk{t: t, record: record, ended: func(f *flow, v Verdict) {
		lists := f.recentLists()
		key := outcomeKey{v, f.dnat, f.snat, f.masquerade, strings.Join(lists, " ")}
		e := byKey[key]
		if e == nil {
			e = &ending{Outcome: Outcome{Verdict: v, DNAT: f.dnat, SNAT: f.snat, Masquerade: f.masquerade, Recent: lists}}
			byKey[key] = e
		}
		e.Probability += f.probability
		e.RulesWalked = max(e.RulesWalked, f.walked)
		if f.probability > e.best {
			e.best, e.trail = f.probability, f.trail
		}
	}}
	w.run(start)
	keys := make([]outcomeKey, 0, len(byKey))
	for k := range byKey {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, outcomeKey.compare)
	ends := make([]*ending, len(keys))
	for i, k := range keys {
		ends[i] = byKey[k]
	}
	return ends, nil
}

// recentLists names the lists that hold the client because of this packet.
func (f *flow) recentLists() []string {
	var lists []string
	for _, c := range f.recent {
		lists = slices.DeleteFunc(lists, func(l string) bool { return l == c.list })
		if c.added {
			lists = append(lists, c.list)
		}
	}
	return lists
}
