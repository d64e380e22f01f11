package iptables

import "github.com/kube-proxier/kube-proxier/proxier"

// ruleCounts are those of both tables. Rules of Service ports that the kernel refused
// are not among the Total.
func (p *plan) ruleCounts() []proxier.RuleCount {
	rules := p.want.Ruleset
	if accepted := p.dataplane.accepted; accepted != nil {
		rules = accepted.Ruleset
	}
	counts := make([]proxier.RuleCount, 0, len(rules.Tables))
	for _, table := range rules.Tables {
		counts = append(counts, proxier.RuleCount{Table: table.Name, Total: table.RuleCount(), Written: p.patch.written(table.Name)})
	}
	return counts
}

// written is the number of rules that the patch writes to a table.
func (p *Patch) written(table string) int {
	n := 0
	for _, t := range p.tables {
		if t.name != table {
			continue
		}
		for _, c := range t.write {
			n += len(c.Rules)
		}
		for _, j := range t.jumps {
			n += len(j.insert)
		}
	}
	return n
}
