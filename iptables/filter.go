package iptables

import (
	"cmp"
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// filterTrees tell clients at once that nobody answers.
type filterTrees struct {
	addresses, nodePorts frontendTree
	health               *node
}

func (f *filterTrees) compile(w *writer, prev *filterTrees, c *changes) {
	f.addresses = w.frontendTree(&prev.addresses, c, prefixAddressTree, w.state.Frontends, w.refuse)
	f.nodePorts = w.frontendTree(&prev.nodePorts, c, prefixPortTree, w.state.NodePorts, w.refuse)
	f.health = c.tree(prev.health, prefixHealthTree, w.healthEntries(prev.health))
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
	var r rule
	switch {
	case w.options.Refused[t]:
		return nil
	case pool.Verdict == proxier.Reject:
		r = at(f, name+" has no endpoints")
		r.target = "-j REJECT --reject-with " + w.rejectWith()
	case pool.Verdict == proxier.Drop:
		r = at(f, name+" has no local endpoints")
		r.target = "-j DROP"
	case f.Restricted():
		r = at(f, name+" is not for this source")
		r.target = "-j DROP"
	default:
		return nil
	}
	return []string{r.String()}
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
