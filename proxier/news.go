package proxier

import "slices"

// News tells what a Report of one family has that the one before of the same
// dataplane had not, so that each thing is told once; what ends and comes back is
// news again. Each method is to be asked once for each Report. The zero value is
// ready.
type News struct {
	known map[string]*known // by dataplane
}

// known is what was in the last Report.
type known struct {
	refused  map[*Target]bool
	problems []Problem
	kept     []string
	feud     bool
}

func (n *News) of(dataplane string) *known {
	k := n.known[dataplane]
	if k == nil {
		k = &known{}
		if n.known == nil {
			n.known = map[string]*known{}
		}
		n.known[dataplane] = k
	}
	return k
}

// Refused are those that were not refused before. A pass that failed says nothing
// of them.
func (n *News) Refused(r Report) []Refusal {
	k := n.of(r.Dataplane)
	if r.Err != nil || len(k.refused)+len(r.Refused) == 0 {
		return nil
	}
	var fresh []Refusal
	before := k.refused
	k.refused = make(map[*Target]bool, len(r.Refused))
	for _, refusal := range r.Refused {
		k.refused[refusal.Target] = true
		if !before[refusal.Target] {
			fresh = append(fresh, refusal)
		}
	}
	return fresh
}

// Problems are those of this node that were not there before.
func (n *News) Problems(r Report) []Problem {
	if r.Plan == nil {
		return nil
	}
	k, now := n.of(r.Dataplane), r.Findings.Problems
	fresh := NewProblems(k.problems, now)
	k.problems = now
	return fresh
}

// Kept is what is left because others use it, and was not before.
func (n *News) Kept(r Report) []string {
	if r.Plan == nil {
		return nil
	}
	k, now := n.of(r.Dataplane), r.Findings.Kept
	fresh := slices.DeleteFunc(slices.Clone(now), func(what string) bool { return slices.Contains(k.kept, what) })
	k.kept = now
	return fresh
}

// NewProblems are those that were not there before.
func NewProblems(before, now []Problem) []Problem {
	if slices.Equal(before, now) {
		return nil // the usual case
	}
	known := make(map[Problem]bool, len(before))
	for _, p := range before {
		known[p] = true
	}
	return slices.DeleteFunc(slices.Clone(now), func(p Problem) bool { return known[p] })
}

// Feud says whether one began or ended. A pass that failed says nothing of it.
func (n *News) Feud(r Report) (began, ended bool) {
	k, now := n.of(r.Dataplane), r.Feud != nil
	if r.Err != nil || k.feud == now {
		return false, false
	}
	k.feud = now
	return now, !now
}
