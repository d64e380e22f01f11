package iptables

import (
	"cmp"
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// filterTrees tell clients at once that nobody answers.
type filterTrees struct {
	addresses, nodePorts frontendTree
	own                  frontendTree // of restricted addresses, in OUTPUT; see restrictOwn
	health               *node
}

func (f *filterTrees) compile(w *writer, prev *filterTrees, c *changes) {
	trees := forest{changes: c}
	f.addresses = w.frontendTree(&prev.addresses, trees, prefixAddressTree, w.state.Frontends, w.refuse)
	f.nodePorts = w.frontendTree(&prev.nodePorts, trees, prefixPortTree, w.state.NodePorts, w.refuse)
	if w.virtual() {
		f.own = w.frontendTree(&prev.own, forest{changes: c, original: true}, prefixOutputTree, w.state.Frontends, w.restrictOwn)
	}
	f.health = trees.tree(prev.health, prefixHealthTree, w.healthEntries(prev.health))
}

// refuse are a frontend's rules in the filter table, which see only what the
// nat table did not send to an endpoint; none where all of it is sent.
func (w *writer) refuse(f *proxier.Frontend) []string {
	t := f.Target
	pool := t.External
	if f.Kind == proxier.ClusterIP {
		pool = t.Internal
	}
	name := t.Name.String()
	switch {
	case w.options.Refused[t]:
		return nil
	case pool.Verdict == proxier.Reject:
		r := matchPlace(f, name+" has no endpoints")
		r.target = "-j REJECT --reject-with " + w.rejectWith()
		return []string{r.String()}
	case pool.Verdict == proxier.Drop:
		return w.drop(f, name+" has no local endpoints")
	case f.Restricted() && w.virtual() && !f.AtNodeAddress():
		return w.restrict(f)
	case f.Restricted():
		return w.drop(f, name+" is not for this source")
	default:
		return nil
	}
}

// drop drops whom nat has not sent to an endpoint. That it has shows in the
// connection's state, unless the endpoint is the frontend's own address and
// port, as with a load balancer in the host's network at the node's address: a
// DNAT that changes nothing leaves no trace. There, who was sent on is let out
// before.
func (w *writer) drop(f *proxier.Frontend, why string) []string {
	var rules []string
	if f.Kind != proxier.ClusterIP && answersItself(f) {
		for _, sender := range w.sentOn(f) {
			r := matchPlace(f, f.Target.Name.String()+" answers at its own address")
			r.src, r.in, r.target = sender.src, sender.in, "-j RETURN"
			r.matches = append(sender.matches, r.matches...)
			rules = append(rules, r.String())
		}
	}
	r := matchPlace(f, why)
	r.target = "-j DROP"
	return append(rules, r.String())
}

// answersItself reports whether one of the endpoints is the frontend's own
// address and port.
func answersItself(f *proxier.Frontend) bool {
	own := func(e proxier.Endpoint) bool {
		return e.Addr.Port() == f.Port && (!f.Addr.IsValid() || e.Addr.Addr() == f.Addr)
	}
	return slices.ContainsFunc(f.Target.ShortCircuit.Endpoints, own) || slices.ContainsFunc(f.Target.External.Endpoints, own)
}

// sentOn are matches for those whom nat sends to an endpoint, of a frontend
// where not everybody is.
func (w *writer) sentOn(f *proxier.Frontend) []rule {
	who := []rule{{}}
	if f.Target.External.Verdict != proxier.Accept { // the short circuit
		who = []rule{{matches: []string{srcLocal}}}
		if w.state.LocalPods.Known() {
			who = append(who, w.fromLocalPods(true))
		}
	}
	if !f.Restricted() {
		return who
	}
	var allowed []rule
	for _, source := range f.Target.AllowedSources {
		for _, r := range who {
			switch {
			case !r.src.IsValid() || r.src.Overlaps(source) && r.src.Bits() < source.Bits():
				r.src = source
			case !r.src.Overlaps(source):
				continue
			}
			allowed = append(allowed, r)
		}
	}
	return allowed
}

// rejectWith is the default of REJECT, which iptables-save spells out.
func (w *writer) rejectWith() string {
	if w.state.Family == proxier.IPv6 {
		return "icmp6-port-unreachable"
	}
	return "icmp-port-unreachable"
}

// healthEntries let load balancers ask for the Service's health, whatever the
// host's own firewall says.
func (w *writer) healthEntries(prev *node) []*entry {
	var entries []*entry
	for _, check := range w.state.HealthChecks() {
		e := &entry{
			place{protocol: "tcp", port: check.Port},
			[]string{healthRule(check)},
		}
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b *entry) int { return cmp.Compare(a.port, b.port) })
	// Two Services cannot share a port; if they claim it, one rule serves both.
	entries = slices.CompactFunc(entries, func(a, b *entry) bool { return a.port == b.port })
	if prev != nil && slices.EqualFunc(prev.entries, entries, func(a, b *entry) bool {
		return a.place == b.place && slices.Equal(a.rules, b.rules)
	}) {
		return prev.entries
	}
	return entries
}

func healthRule(check proxier.HealthCheck) string {
	return rule{
		protocol: "tcp", comment: check.Service.String() + " health check node port",
		matches: []string{dport("tcp", check.Port, check.Port)}, target: "-j ACCEPT",
	}.String()
}
