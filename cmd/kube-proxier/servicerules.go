package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// serviceRules is the part of the rules that serves one Service: the rules that
// name it, the chains they lead to, and the rules on the way from the built-in
// chains to them.
func serviceRules(all iptables.Ruleset, service types.NamespacedName) iptables.Ruleset {
	var part iptables.Ruleset
	for _, table := range all.Tables {
		p := servicePart{table: table, service: service.String(), whole: map[string]bool{}, kept: map[string][]bool{}}
		part.Tables = append(part.Tables, p.reduce())
	}
	return part
}

// A servicePart picks rules of one table.
type servicePart struct {
	table   iptables.Table
	service string
	whole   map[string]bool   // chains that belong to the Service
	kept    map[string][]bool // by chain, which of its rules are kept
}

func (p *servicePart) reduce() iptables.Table {
	for _, c := range p.table.Chains {
		p.kept[c.Name] = make([]bool, len(c.Rules))
		for i, rule := range c.Rules {
			if p.names(rule) {
				p.kept[c.Name][i] = true
				p.follow(jumpTarget(rule))
			}
		}
	}
	for p.addWay() {
	}
	out := iptables.Table{Name: p.table.Name}
	for _, c := range p.table.Chains {
		reduced := &iptables.Chain{Name: c.Name, Policy: c.Policy}
		for i, rule := range c.Rules {
			if p.whole[c.Name] || p.kept[c.Name][i] {
				reduced.Rules = append(reduced.Rules, rule)
			}
		}
		if len(reduced.Rules) > 0 {
			out.Chains = append(out.Chains, reduced)
		}
	}
	return out
}

// names reports whether the rule's comment names the Service or one of its
// ports.
func (p *servicePart) names(rule string) bool {
	_, comment, found := strings.Cut(rule, "--comment ")
	comment = strings.TrimPrefix(comment, `"`)
	for found {
		var word string
		word, comment, found = strings.Cut(comment, " ")
		name, _, _ := strings.Cut(strings.TrimSuffix(word, `"`), ":")
		if name == p.service {
			return true
		}
		found = found && !strings.HasSuffix(word, `"`)
	}
	return false
}

// follow takes a chain that is reached only through the Service's own rules,
// with those behind it.
func (p *servicePart) follow(name string) {
	c := p.table.Chain(name)
	if c == nil || p.whole[name] || !slices.ContainsFunc([]string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-"}, func(prefix string) bool {
		return strings.HasPrefix(name, prefix)
	}) {
		return
	}
	p.whole[name] = true
	for _, rule := range c.Rules {
		p.follow(jumpTarget(rule))
	}
}

// addWay keeps the rules that lead to what is kept already; false means that
// there were no more.
func (p *servicePart) addWay() bool {
	more := false
	for _, c := range p.table.Chains {
		for i, rule := range c.Rules {
			target := jumpTarget(rule)
			if !p.kept[c.Name][i] && (p.whole[target] || slices.Contains(p.kept[target], true)) {
				p.kept[c.Name][i], more = true, true
			}
		}
	}
	return more
}

// jumpTarget is the word after the last -j of a rule. No rule of ours has one
// in its comment's last words.
func jumpTarget(rule string) string {
	i := strings.LastIndex(rule, "-j ")
	if i < 0 {
		return ""
	}
	target, _, _ := strings.Cut(rule[i+len("-j "):], " ")
	return target
}
