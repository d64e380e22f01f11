package iptables

import (
	"strings"
)

// calls renders the patch for iptables-restore. Within one table and call all
// happens at once: iptables commits a table as a whole.
//
// nat stands before filter: a Service that gets its first endpoint is
// translated before it is no longer rejected, so that no packet passes
// untranslated and leaves a conntrack entry that keeps doing so.
func calls(tables []tablePatch, maxNames int) []string {
	names := 0
	for i := range tables {
		names += tables[i].names()
	}
	if names == 0 {
		return nil
	}
	if maxNames == 0 || names <= maxNames {
		var b strings.Builder
		for i := range tables {
			t := &tables[i]
			writeTable(&b, t.name, t.write, t.jumps, t.remove, t.remove)
		}
		return []string{b.String()}
	}
	var out []string
	for i := range tables {
		out = append(out, tables[i].split(maxNames)...)
	}
	return out
}

// names is the number of chain names the table's part mentions.
func (t *tablePatch) names() int {
	n := len(t.remove)
	for _, c := range t.write {
		n += chainNames(c)
	}
	for _, j := range t.jumps {
		n += len(j.insert) + len(j.remove)
	}
	return n
}

func chainNames(c *Chain) int {
	n := 1
	for _, rule := range c.Rules {
		if strings.HasPrefix(jumpTarget(rule), "KUBE-") {
			n++
		}
	}
	return n
}

// split renders one table in several calls: chains before those that jump to
// them, then the built-in chains' jumps, then what nobody jumps to any more.
func (t *tablePatch) split(maxNames int) []string {
	var out []string
	emit := func(write []*Chain, jumps []jumpPatch, flush, remove []*Chain) {
		var b strings.Builder
		writeTable(&b, t.name, write, jumps, flush, remove)
		if b.Len() > 0 {
			out = append(out, b.String())
		}
	}
	var batch []*Chain
	names := 0
	for _, c := range calleesFirst(t.write) {
		n := chainNames(c)
		if names+n > maxNames && len(batch) > 0 {
			emit(batch, nil, nil, nil)
			batch, names = nil, 0
		}
		batch, names = append(batch, c), names+n
	}
	emit(batch, t.jumps, nil, nil)
	if len(t.remove) <= maxNames {
		emit(nil, nil, t.remove, t.remove)
		return out
	}
	for rest := t.remove; len(rest) > 0; rest = rest[min(maxNames, len(rest)):] {
		emit(nil, nil, rest[:min(maxNames, len(rest))], nil)
	}
	for rest := t.remove; len(rest) > 0; rest = rest[min(maxNames, len(rest)):] {
		emit(nil, nil, nil, rest[:min(maxNames, len(rest))])
	}
	return out
}

// writeTable renders one table's part of a call; nothing when it is empty.
// Declaring a chain creates it, or empties it.
func writeTable(b *strings.Builder, table string, write []*Chain, jumps []jumpPatch, flush, remove []*Chain) {
	if len(write)+len(jumps)+len(flush)+len(remove) == 0 {
		return
	}
	b.Grow(sizeOf(write))
	b.WriteString("*" + table + "\n")
	for _, c := range write {
		b.WriteString(":" + c.Name + " - [0:0]\n")
	}
	for _, c := range flush {
		b.WriteString(":" + c.Name + " - [0:0]\n")
	}
	for _, c := range write {
		for _, rule := range c.Rules {
			appendRule(b, c.Name, rule)
		}
	}
	for _, j := range jumps {
		for _, rule := range j.remove { // first: a rule may be in both
			b.WriteString("-D " + j.want.Name + " " + rule + "\n")
		}
		for i := len(j.insert) - 1; i >= 0; i-- { // the first ends up on top
			b.WriteString("-I " + j.want.Name + " " + j.insert[i] + "\n")
		}
	}
	for _, c := range remove {
		b.WriteString("-X " + c.Name + "\n")
	}
	b.WriteString("COMMIT\n")
}

// sizeOf is how many bytes chains take when they are rendered, about.
func sizeOf(chains []*Chain) int {
	n := 0
	for _, c := range chains {
		n += len(c.Name) + len(": - [0:0]\n")
		for _, rule := range c.Rules {
			n += len("-A ") + len(c.Name) + len(" ") + len(rule) + len("\n")
		}
	}
	return n
}

// calleesFirst orders chains so that each comes after all it jumps to.
func calleesFirst(chains []*Chain) []*Chain {
	byName := make(map[string]*Chain, len(chains))
	for _, c := range chains {
		byName[c.Name] = c
	}
	ordered := make([]*Chain, 0, len(chains))
	var visit func(c *Chain)
	visit = func(c *Chain) {
		delete(byName, c.Name)
		for _, rule := range c.Rules {
			if callee := byName[jumpTarget(rule)]; callee != nil {
				visit(callee)
			}
		}
		ordered = append(ordered, c)
	}
	for _, c := range chains {
		if byName[c.Name] != nil {
			visit(c)
		}
	}
	return ordered
}
