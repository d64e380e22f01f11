package preflight

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// family is about one family's tool, what it can do, and what is in its tables.
func (j *judge) family(f Facts, own Family) {
	const subject = "iptables"
	others := slices.ContainsFunc(f.Families, func(other Family) bool { return other.Family != own.Family && other.Err == nil && !lacks(other) })
	severity := Fatal
	if others {
		severity = Warning
	}
	if own.Err != nil {
		if own.Family == proxier.IPv6 && f.NoIPv6 != nil {
			j.withoutIPv6(f)
			return
		}
		do := "install iptables 1.8, and load the modules of its tables"
		switch {
		case !f.NetAdmin:
			do = "see permissions"
		case severity == Warning:
			do += "; where the cluster has no " + string(own.Family) + " nothing is lost"
		}
		j.add(severity, subject, fmt.Sprintf("%s does not work: %v", own.Family, own.Err), fmt.Sprintf("no Service is served over %s", own.Family), do)
		return
	}
	j.trial(own)
	for _, need := range own.Missing {
		j.missing(severity, own, need)
	}
	if len(own.OtherChains) > 0 {
		j.add(Warning, "leftovers", fmt.Sprintf("%s holds chains of a Service proxy (%d, such as %s), and %s is in use", own.Other, len(own.OtherChains), own.OtherChains[0], own.Tool),
			"packets pass through the tables of both, and old rules win",
			`"kube-proxier cleanup" removes those of both; start the daemon after it, which puts the right ones back`)
	}
	j.forwardChain(own)
}

// withoutIPv6 is about a host that has none.
func (j *judge) withoutIPv6(f Facts) {
	const subject = "iptables"
	if wantsIPv6(f.Config) {
		j.add(Warning, subject, fmt.Sprintf("%v, and the configuration speaks of IPv6", f.NoIPv6), "no Service is served over IPv6",
			"turn it on and start the daemon again, or take IPv6 out of bindAddress and clusterCIDR")
		return
	}
	j.ok(subject, fmt.Sprintf("%v, and not served", f.NoIPv6))
}

// trial is about whether rules could be tried out. That this is not permitted
// is usual for a process that has few capabilities; that the tool fails is not.
func (j *judge) trial(own Family) {
	const subject = "iptables"
	if _, failed := errors.AsType[*iptables.RestoreError](own.TrialErr); failed {
		j.add(Warning, subject, fmt.Sprintf("%s cannot write rules, not even in a network namespace of its own: %v", own.Tool, own.TrialErr),
			"it will not be able to write them here", "look at what it says: a lock file in a folder that is read-only, a table without its module")
		return
	}
	if own.TrialErr != nil {
		j.add(OK, subject, own.Tool, fmt.Sprintf("what the kernel is able to do could not be tried out: %v", own.TrialErr), "")
		return
	}
	if len(own.Missing) == 0 {
		j.ok(subject, own.Tool+", and the kernel has all matches and targets")
	}
}

// lacks tells whether the rules of a family cannot be written.
func lacks(f Family) bool {
	return slices.ContainsFunc(f.Missing, func(n iptables.Need) bool { return n.Essential })
}

func (j *judge) missing(severity Severity, own Family, need iptables.Need) {
	const subject, do = "iptables", "use a kernel that has it, or load its module (CONFIG_NETFILTER_XT_* of the kernel)"
	what := fmt.Sprintf("the kernel or %s has no %s", own.Tool, need.Name)
	switch {
	case need.Essential:
		j.add(severity, subject, what, "without it no rule can be written: "+need.For, do)
	case need.Name == "match bpf":
		j.add(OK, subject, what, need.For, "")
	default:
		j.add(Warning, subject, what, "needed for: "+need.For, do)
	}
}

// forwardChain is about whether packets to pods get through the filter table's
// FORWARD chain. Rules of a CNI plugin are taken for letting them.
func (j *judge) forwardChain(own Family) {
	filter := own.Rules.Table(iptables.Filter)
	chain := filter.Chain("FORWARD")
	if chain == nil {
		return
	}
	const subject = "forward chain"
	blocks := ""
	switch last := lastRule(chain.Rules); {
	case last == "-j DROP" || last == "-j REJECT" || strings.HasPrefix(last, "-j REJECT --reject-with"):
		blocks = "ends with a rule that takes nothing: " + last
	case chain.Policy == "DROP":
		blocks = "has the policy DROP"
	default:
		return
	}
	what := fmt.Sprintf("FORWARD of %s %s", own.Tool, blocks)
	if slices.ContainsFunc(chain.Rules, admits) {
		j.ok(subject, what+", with rules of others before it that accept")
		return
	}
	j.add(Warning, subject, what, "connections to pods and between them are dropped, but for those a Service masquerades",
		"let the CNI plugin accept the pods' addresses, or set the policy: iptables -P FORWARD ACCEPT")
}

func lastRule(rules []string) string {
	if len(rules) == 0 {
		return ""
	}
	return rules[len(rules)-1]
}

// admits tells whether a rule may let pods' connections through: one that
// accepts other packets than established connections', or leads to a chain of
// a network plugin.
func admits(rule string) bool {
	if strings.HasSuffix(rule, "-j ACCEPT") {
		return !strings.Contains(rule, "ESTABLISHED")
	}
	for _, plugin := range []string{"FLANNEL-FWD", "cali-FORWARD", "CNI-FORWARD", "CILIUM_FORWARD", "KUBE-ROUTER-FORWARD", "WEAVE-NPC", "ANTREA-FORWARD"} {
		if strings.HasSuffix(rule, "-j "+plugin) {
			return true
		}
	}
	return false
}
