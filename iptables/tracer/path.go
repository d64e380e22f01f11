package tracer

import (
	"fmt"
	"slices"
	"strings"
)

// A Path is one outcome and how the packet comes to it.
type Path struct {
	Outcome Outcome
	// Steps are the rules that matched, of the most probable way to the
	// outcome, and the policies of built-in chains that decided.
	Steps []Step
}

// A Step is one rule that matched on a packet's way.
type Step struct {
	Table, Chain string
	// Depth is the number of jumps from the built-in chain to this rule.
	Depth int
	// Rule is the rule's text; empty for a built-in chain's policy.
	Rule string
	// Policy is the policy's verdict when Rule is empty.
	Policy Verdict
}

// String reads as "nat KUBE-SERVICES: -d 10.96.0.1/32 … -j KUBE-SVC-X".
func (s Step) String() string {
	if s.Rule == "" {
		return fmt.Sprintf("%s %s: policy %s", s.Table, s.Chain, s.Policy)
	}
	return fmt.Sprintf("%s %s: %s", s.Table, s.Chain, s.Rule)
}

// String is one line for the outcome and one, indented by depth, per step.
func (p Path) String() string {
	var b strings.Builder
	b.WriteString(p.Outcome.String())
	for _, s := range p.Steps {
		b.WriteString("\n  ")
		b.WriteString(strings.Repeat("  ", s.Depth))
		b.WriteString(s.String())
	}
	return b.String()
}

// Paths explains every outcome of Trace, in the same order. It costs more
// than Trace, which keeps no steps.
func (t *Tracer) Paths(p Packet) ([]Path, error) {
	ends, err := t.outcomes(p, true)
	if err != nil {
		return nil, err
	}
	paths := make([]Path, len(ends))
	for i, e := range ends {
		paths[i] = Path{Outcome: e.Outcome, Steps: e.trail.steps()}
	}
	return paths, nil
}

// A trail is the last step of a way and what came before; branches share their
// beginning.
type trail struct {
	step   Step
	before *trail
}

func (t *trail) steps() []Step {
	var steps []Step
	for ; t != nil; t = t.before {
		steps = append(steps, t.step)
	}
	slices.Reverse(steps)
	return steps
}

// note records a rule that matched, or (r is nil) that the policy decides.
func (w *walk) note(f *flow, c *chain, r *rule) {
	if !w.record {
		return
	}
	s := Step{Table: c.table, Chain: c.name}
	if r == nil {
		s.Policy = c.policy
	} else {
		s.Rule = r.text
		for above := f.stack; above != nil; above = above.above {
			s.Depth++
		}
	}
	f.trail = &trail{s, f.trail}
}
