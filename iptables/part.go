package iptables

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Part is the part of the ruleset that serves one Service: its own chains and
// rules, and the jumps that lead to them from the built-in chains.
func (c *Compiled) Part(service types.NamespacedName) Ruleset {
	rules, chains := c.belongings(service)
	var out Ruleset
	for _, table := range c.Ruleset.Tables {
		p := tablePart{table: table, kept: map[string][]string{}}
		for _, chain := range table.Chains {
			p.keep(chain, func(rule string) bool { return chains[chain] || rules[rule] })
		}
		for p.addWay() {
		}
		out.Tables = append(out.Tables, p.result())
	}
	return out
}

// belongings are the Service's chains, and its rules in the chains of others.
func (c *Compiled) belongings(service types.NamespacedName) (rules map[string]bool, chains map[*Chain]bool) {
	rules, chains = map[string]bool{}, map[*Chain]bool{}
	for _, s := range c.services {
		if s.service.Objects.Name != service {
			continue
		}
		for _, t := range s.targets {
			for chain := range t.all {
				chains[chain] = true
			}
		}
	}
	for _, tree := range c.frontendTrees() {
		for _, e := range tree.all {
			if e.frontend.Target.Name.NamespacedName == service {
				for _, rule := range e.rules {
					rules[rule] = true
				}
			}
		}
	}
	for _, check := range c.state.HealthChecks() {
		if check.Service.NamespacedName == service {
			rules[healthRule(check)] = true
		}
	}
	return rules, chains
}

// A tablePart gathers rules of one table.
type tablePart struct {
	table Table
	kept  map[string][]string // by chain, in order
}

// keep takes the rules of a chain that are wanted, besides those it has; it
// reports whether there were more.
func (p *tablePart) keep(c *Chain, wanted func(rule string) bool) bool {
	had := p.kept[c.Name]
	var kept []string
	for _, rule := range c.Rules {
		if wanted(rule) || slices.Contains(had, rule) {
			kept = append(kept, rule)
		}
	}
	if len(kept) > 0 {
		p.kept[c.Name] = kept
	}
	return len(kept) > len(had)
}

// addWay takes the jumps to chains that are taken; false when there were no
// more.
func (p *tablePart) addWay() bool {
	more := false
	for _, c := range p.table.Chains {
		if p.keep(c, func(rule string) bool { return len(p.kept[jumpTarget(rule)]) > 0 }) {
			more = true
		}
	}
	return more
}

func (p *tablePart) result() Table {
	t := Table{Name: p.table.Name}
	for _, c := range p.table.Chains {
		if rules := p.kept[c.Name]; len(rules) > 0 {
			t.Chains = append(t.Chains, &Chain{Name: c.Name, Policy: c.Policy, Rules: rules})
		}
	}
	return t
}
