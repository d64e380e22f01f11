package iptables

import (
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// GuardLoopback is the Patch that keeps the network away from loopback addresses
// of IPv4 before there are other rules, so that route_localnet can be set. It only
// adds: what is there stays as it is.
func GuardLoopback(have Observation) *Patch {
	w := writer{state: &proxier.State{Family: proxier.IPv4}}
	p, t := &Patch{}, tablePatch{name: Filter}
	table := have.Own.Table(Filter)
	if chain := table.Chain(chainFirewall); chain != nil {
		t.insert(chain, w.firewall()...) // kube-proxy's, with its own rules
	} else {
		t.changed(&Chain{Name: chainFirewall}, &Chain{Name: chainFirewall, Rules: w.firewall()}, true)
	}
	input := table.Chain("INPUT")
	if input == nil {
		input = &Chain{Name: "INPUT", Policy: accept}
	}
	t.insert(input, loopbackJump())
	p.Written, p.Rules = len(t.write), len(t.write)+len(t.jumps)
	if !t.empty() {
		p.tables = append(p.tables, t)
	}
	p.Calls = calls(p.tables, 0)
	return p
}

// loopbackJump leads all packets to the guard: those of known connections, too.
func loopbackJump() string {
	return rule{comment: firewalling, target: jump(chainFirewall)}.String()
}

// insert puts rules that are missing on top of a chain.
func (t *tablePatch) insert(have *Chain, rules ...string) {
	missing := slices.DeleteFunc(rules, func(rule string) bool { return slices.Contains(have.Rules, rule) })
	if len(missing) > 0 {
		want := &Chain{Name: have.Name, Policy: have.Policy, Rules: slices.Concat(missing, have.Rules)}
		t.jumps = append(t.jumps, jumpPatch{have: have, want: want, insert: missing})
	}
}
