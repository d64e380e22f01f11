package iptables

import (
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Need is something of the kernel, or of the tool, that rules use.
type Need struct {
	// Name is the match or target, such as "match statistic".
	Name string
	// For says what goes without it.
	For string
	// Essential needs are those of the rules that are always there: without
	// them, none are.
	Essential bool
	// Table and Rule are a rule that uses it.
	Table, Rule string
}

// Needs are what the rules of a family use; virtual adds IPVS mode's.
func Needs(family proxier.Family, virtual bool) []Need {
	address, unreachable := "192.0.2.1:80", "icmp-port-unreachable"
	if family == proxier.IPv6 {
		address, unreachable = "[2001:db8::1]:80", "icmp6-port-unreachable"
	}
	const always = "all rules"
	w := writer{state: &proxier.State{Family: family}}
	needs := []Need{
		{"match comment", always, true, NAT, "-m comment --comment probe -j RETURN"},
		{"match conntrack", always, true, NAT, ctNew + " -j RETURN"},
		{"match mark", always, true, NAT, "-m mark --mark 0x4000/0x4000 -j RETURN"},
		{"match addrtype", "node ports, and traffic of this node", true, NAT, "-m addrtype --dst-type LOCAL -j RETURN"},
		{"target MARK", always, true, NAT, "-j MARK --set-xmark 0x4000/0x4000"},
		{"target MASQUERADE", always, true, NAT, masqueradeRandomly},
		{"target REJECT", "Services without endpoints, whose clients wait in vain without it", false, Filter, "-j REJECT --reject-with " + unreachable},
		{"match bpf", "pods that reach themselves through a Service; without it, a list of endpoints takes its place", false, NAT, w.selfMatch() + " -j RETURN"},
	}
	some := "every Service"
	if virtual {
		// Of what has to stay on this node, and of addresses of other nodes.
		some = "load balancers that are handled on this node, and addresses of other nodes"
		needs = append(needs,
			Need{"match ipvs", "traffic that virtual servers have sent on", true, NAT, "-m ipvs --ipvs -j RETURN"})
	}
	return append(needs,
		Need{"target DNAT", some, !virtual, NAT, "-p tcp -j DNAT --to-destination " + address},
		Need{"match statistic", "Services with more than one endpoint", false, NAT, "-m statistic --mode random --probability 0.5 -j RETURN"},
		Need{"match recent", "session affinity", false, NAT, "-m recent --name KUBE-PROBE --rcheck --seconds 10 --reap -j RETURN"})
}

// trial is an input of iptables-restore that uses all of these.
func trial(needs []Need) string {
	var b strings.Builder
	for _, table := range []string{NAT, Filter} {
		if !slices.ContainsFunc(needs, func(n Need) bool { return n.Table == table }) {
			continue
		}
		b.WriteString("*" + table + "\n:KUBE-PROBE - [0:0]\n")
		for _, n := range needs {
			if n.Table == table {
				b.WriteString("-A KUBE-PROBE " + n.Rule + "\n")
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}
