package iptables

import (
	"strings"
)

// Outline prints a ruleset as packets walk it: from each built-in chain down,
// with the rules of a chain indented below the rule that jumps to it. A chain
// that was shown in full before is only referred to.
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
		o.b.WriteString(indent + branch + rule)
		callee := o.table.Chain(jumpTarget(rule))
		switch {
		case callee == nil:
		case o.shown[callee.Name] && len(callee.Rules) > 0:
			o.b.WriteString("  (see above)")
		case len(callee.Rules) > 0:
			o.shown[callee.Name] = true
			o.b.WriteByte('\n')
			o.chain(callee, indent+below)
			continue
		}
		o.b.WriteByte('\n')
	}
}
