package tracer

import "github.com/kube-proxier/kube-proxier/iptables"

// hookSet is a set of a table's built-in chains.
type hookSet uint

const (
	natPrerouting hookSet = 1 << iota
	natInput
	natOutput
	natPostrouting
	filterInput
	filterForward
	filterOutput
	wayEnd hookSet = 0 // the packet has passed all its hooks
)

const (
	natHooks    = natPrerouting | natInput | natOutput | natPostrouting
	filterHooks = filterInput | filterForward | filterOutput
)

var hookChains = []struct {
	hook        hookSet
	table, name string
}{
	{natPrerouting, iptables.NAT, "PREROUTING"},
	{natInput, iptables.NAT, "INPUT"},
	{natOutput, iptables.NAT, "OUTPUT"},
	{natPostrouting, iptables.NAT, "POSTROUTING"},
	{filterInput, iptables.Filter, "INPUT"},
	{filterForward, iptables.Filter, "FORWARD"},
	{filterOutput, iptables.Filter, "OUTPUT"},
}

// hookOf returns the hook of a built-in chain; 0 for other chains.
func hookOf(table, name string) hookSet {
	for _, h := range hookChains {
		if h.table == table && h.name == name {
			return h.hook
		}
	}
	return 0
}

// String is the built-in chain's name.
func (h hookSet) String() string {
	for _, c := range hookChains {
		if c.hook == h {
			return c.name
		}
	}
	return "?"
}

func (h hookSet) table() string {
	if h&natHooks != 0 {
		return iptables.NAT
	}
	return iptables.Filter
}

// base returns the hook's chain; nil when the ruleset does not have it.
func (t *Tracer) base(h hookSet) *chain { return t.tables[h.table()][h.String()] }

// hooks is where the kernel takes the target.
func (t target) hooks() hookSet {
	switch t.kind {
	case reject, drop: // iptables(8) refuses to drop in nat, which sees only first packets
		return filterHooks
	case dnat:
		return natPrerouting | natOutput
	case snat:
		return natPostrouting | natInput
	case masquerade:
		return natPostrouting
	}
	return natHooks | filterHooks
}

// firstHook is where the packet's way begins.
func (f *flow) firstHook() hookSet {
	if f.fromHost() {
		return natOutput
	}
	return natPrerouting
}

// nextHook is the hook after f.hook; routing decides by the destination the
// packet has now.
func (f *flow) nextHook() hookSet {
	switch f.hook {
	case natPrerouting:
		if f.host.isLocal(f.dst) {
			return filterInput
		}
		return filterForward
	case natOutput:
		return filterOutput
	case filterOutput, filterForward:
		return natPostrouting
	case natPostrouting:
		// What the host sends to itself comes back over lo. The nat table is
		// done with the connection by then: no PREROUTING, no INPUT there.
		if f.fromHost() && f.host.isLocal(f.dst) {
			return filterInput
		}
	case filterInput:
		if f.virtual && !f.host.isLocal(f.dst) {
			return filterOutput
		}
		if !f.fromHost() {
			return natInput
		}
	}
	return wayEnd
}
