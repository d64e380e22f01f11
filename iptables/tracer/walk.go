package tracer

// A walk follows one packet along all branches.
type walk struct {
	t       *Tracer
	pending []flow // branches still to follow
	ended   func(*flow, Verdict)
	record  bool // keep trails
}

// run follows the packet and reports every branch's end.
func (w *walk) run(start flow) {
	w.pending = append(w.pending, start)
	for len(w.pending) > 0 {
		last := len(w.pending) - 1
		f := w.pending[last]
		w.pending = w.pending[:last]
		w.ended(&f, w.follow(&f))
	}
}

// follow takes one branch through the rest of its hooks.
func (w *walk) follow(f *flow) Verdict {
	for f.hook != wayEnd {
		base := w.t.base(f.hook)
		if base != nil && (f.hook&natHooks == 0 || f.walksNAT()) {
			if f.chain == nil {
				f.chain, f.rule, f.stack = base, 0, nil
			}
			if v := w.walkHook(f, base); v != Accept {
				return v
			}
		}
		if v := w.balance(f); v != Accept {
			return v
		}
		f.hook, f.chain = f.nextHook(), nil
	}
	return Accept
}

// walkHook walks the hook's chains from where f stands to a verdict.
func (w *walk) walkHook(f *flow, base *chain) Verdict {
	for {
		if f.rule == len(f.chain.rules) {
			if !f.comeBack() {
				w.note(f, base, nil)
				return base.policy
			}
			continue
		}
		c, r := f.chain, &f.chain.rules[f.rule]
		f.rule++
		f.walked++
		if !w.matches(f, r) {
			continue
		}
		w.note(f, c, r)
		if v, ended := f.act(r.target, base); ended {
			return v
		}
	}
}

// comeBack returns from a chain; false when that is the hook's end.
func (f *flow) comeBack() bool {
	if f.stack == nil {
		return false
	}
	f.chain, f.rule, f.stack = f.stack.chain, f.stack.rule, f.stack.above
	return true
}

// act does what a matching rule says; ended when that decides the hook.
func (f *flow) act(t target, base *chain) (v Verdict, ended bool) {
	switch t.kind {
	case accept:
		return Accept, true
	case drop:
		return Drop, true
	case reject:
		return Reject, true
	case leave:
		if !f.comeBack() {
			return base.policy, true
		}
	case setMark:
		f.mark = f.mark&^t.clear ^ t.flip
	case masquerade:
		f.masquerade, f.srcChanged = true, true
		return Accept, true
	case dnat:
		f.redirect(t)
		return Accept, true
	case snat:
		f.rewriteSource(t)
		return Accept, true
	case jump:
		f.stack = &frame{f.chain, f.rule, f.stack}
		f.chain, f.rule = t.chain, 0
	case jumpAway:
		f.chain, f.rule = t.chain, 0
	}
	return 0, false
}

// matches makes the rule's tests. At a random choice the branch that misses is
// set aside in w.pending, to go on with the next rule, and f becomes the one
// that hits.
func (w *walk) matches(f *flow, r *rule) bool {
	forks := len(w.pending) // those set aside by this rule come after
	same := true            // f and those are still alike but for the probability
	for i := range r.tests {
		t := &r.tests[i]
		var hit bool
		switch {
		case t.cond != nil:
			hit = t.cond(f)
		case t.recent != nil:
			var changed bool
			hit, changed = t.recent.run(f)
			same = same && !(changed && len(w.pending) > forks)
		default:
			hit = w.fork(f, t.chance)
		}
		if hit {
			continue
		}
		if same { // the choice made no difference: one branch again
			for _, miss := range w.pending[forks:] {
				f.probability += miss.probability
			}
			w.pending = w.pending[:forks]
		}
		return false
	}
	return true
}

// fork sets the branch aside that misses the chance; false when all of it does.
func (w *walk) fork(f *flow, chance float64) bool {
	if chance <= 0 {
		return false
	}
	if chance < 1 {
		miss := *f
		miss.probability *= 1 - chance
		w.pending = append(w.pending, miss)
		f.probability *= chance
	}
	return true
}
