package iptables

import (
	"regexp"
	"strings"
)

// Outline prints a ruleset as packets walk it, for people: from each built-in
// chain down, with the rules of a chain indented below the rule that jumps to
// it. A chain that was shown before is only referred to. Rules are shortened:
// what a packet is matched by, an arrow to what becomes of it, and the comment.
func Outline(rs Ruleset) string {
	var b strings.Builder
	for _, table := range rs.Tables {
		o := outline{table: table, shown: map[string]bool{}, b: &b}
		for _, name := range []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"} {
			c := table.Chain(name)
			if c == nil || len(c.Rules) == 0 {
				continue
			}
			b.WriteString(table.Name + " " + name + "\n")
			o.chain(c, "")
		}
	}
	return b.String()
}

type outline struct {
	table Table
	shown map[string]bool
	b     *strings.Builder
}

func (o *outline) chain(c *Chain, indent string) {
	for i, rule := range c.Rules {
		branch, below := "├─ ", "│  "
		if i == len(c.Rules)-1 {
			branch, below = "└─ ", "   "
		}
		callee := o.table.Chain(jumpTarget(rule))
		again := callee != nil && o.shown[callee.Name] && len(callee.Rules) > 0
		remark := ""
		if again {
			remark = " (above)"
		}
		o.b.WriteString(indent + branch + shortened(rule, remark) + "\n")
		if callee != nil && !again {
			o.shown[callee.Name] = true
			o.chain(callee, indent+below)
		}
	}
}

var (
	commentMatch = regexp.MustCompile(`-m comment --comment ("(?:[^"\\]|\\.)*"|\S+) ?`)
	moduleName   = regexp.MustCompile(`-m (tcp|udp|sctp|conntrack|addrtype|statistic|recent|mark|bpf) `)
)

// shortened is a rule without what only the tool needs to know: the names of
// match modules, whose options say enough.
func shortened(rule, remark string) string {
	comment := ""
	if m := commentMatch.FindStringSubmatch(rule); m != nil {
		comment = "  # " + strings.Trim(m[1], `"`)
		rule = strings.Replace(rule, m[0], "", 1)
	}
	rule = moduleName.ReplaceAllString(rule, "")
	if target := strings.LastIndex(rule, "-j "); target >= 0 {
		rule = rule[:target] + "→ " + rule[target+len("-j "):]
	}
	return rule + remark + comment
}
