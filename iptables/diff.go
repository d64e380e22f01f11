package iptables

import (
	"bytes"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// A Patch turns what the kernel has into what it should have.
type Patch struct {
	// Calls are the inputs of iptables-restore --noflush, in order; empty when
	// nothing is to be done.
	Calls []string
	// Counts of what the calls do.
	Written, Rules, Deleted int

	tables []tablePatch
}

// A tablePatch is the difference in one table.
type tablePatch struct {
	name string
	// write are chains to fill, sorted by name. have are the same chains as they
	// are, nil for new ones.
	write, have []*Chain
	// remove are chains to delete.
	remove []*Chain
	jumps  []jumpPatch
}

// A jumpPatch is what to do to the rules of one built-in chain that are ours: what is
// in remove is deleted, then what is in insert put on top.
type jumpPatch struct {
	have, want     *Chain
	insert, remove []string
}

// Diff compares chain by chain. have must come from Observe or Compile, want
// from Compile. maxNames, if not 0, bounds how many chain names one call
// declares or jumps to; then the patch is no longer atomic, but each call
// leaves rules in force that serve everything either as before or as after.
//
// Chains that differ are rewritten in full. Built-in chains belong to the host:
// where our jumps differ they are deleted, and the wanted ones inserted on top.
// What others have above or between them is no difference.
func Diff(have Observation, want Ruleset, maxNames int) *Patch {
	p := &Patch{}
	for _, table := range want.Tables {
		t := diffTable(have.Own.Table(table.Name), table, have.Referenced[table.Name])
		p.Written += len(t.write)
		p.Deleted += len(t.remove)
		for _, c := range t.write {
			p.Rules += len(c.Rules)
		}
		for _, j := range t.jumps {
			p.Rules += len(j.insert)
		}
		if !t.empty() {
			p.tables = append(p.tables, t)
		}
	}
	p.Calls = calls(p.tables, maxNames)
	return p
}

func (t *tablePatch) empty() bool {
	return len(t.write) == 0 && len(t.remove) == 0 && len(t.jumps) == 0
}

func diffTable(have, want Table, referenced map[string]bool) tablePatch {
	t := tablePatch{name: want.Name}
	old, next := have.Chains, want.Chains
	for len(old) > 0 || len(next) > 0 {
		switch {
		case len(next) == 0 || len(old) > 0 && old[0].Name < next[0].Name:
			t.gone(old[0], referenced)
			old = old[1:]
		case len(old) == 0 || next[0].Name < old[0].Name:
			t.changed(&Chain{Name: next[0].Name, Policy: next[0].Policy}, next[0], true)
			next = next[1:]
		default:
			if old[0] != next[0] {
				t.changed(old[0], next[0], false)
			}
			old, next = old[1:], next[1:]
		}
	}
	return t
}

// gone handles a chain that should not be.
func (t *tablePatch) gone(c *Chain, referenced map[string]bool) {
	switch {
	case c.Policy != "":
		t.jumps = append(t.jumps, jumpPatch{have: c, want: &Chain{Name: c.Name, Policy: c.Policy}, remove: c.Rules})
	case !referenced[c.Name]:
		t.remove = append(t.remove, c)
	case len(c.Rules) > 0: // somebody else's rule leads here: all we may do is empty it
		t.have, t.write = append(t.have, c), append(t.write, &Chain{Name: c.Name})
	}
}

func (t *tablePatch) changed(have, want *Chain, isNew bool) {
	if want.Policy != "" {
		if j := diffJumps(have, want); len(j.insert)+len(j.remove) > 0 {
			t.jumps = append(t.jumps, j)
		}
		return
	}
	if isNew || !have.Equal(want) {
		if isNew {
			have = nil
		}
		t.have, t.write = append(t.have, have), append(t.write, want)
	}
}

// diffJumps replaces all our rules of a built-in chain where they are not exactly
// those that are wanted, in that order. iptables deletes the first of equal rules,
// which may be the one above somebody's REJECT, and leave the one below.
func diffJumps(have, want *Chain) jumpPatch {
	j := jumpPatch{have: have, want: want}
	if !have.Equal(want) {
		j.remove, j.insert = have.Rules, want.Rules
	}
	return j
}

// Unified shows the patch like diff -u, one part for each chain; built-in
// chains with our rules only.
func (p *Patch) Unified() string {
	var b strings.Builder
	for i := range p.tables {
		t := &p.tables[i]
		for _, j := range t.jumps {
			b.Write(unified(t.name, j.want.Name, j.have, j.want))
		}
		for k, want := range t.write {
			b.Write(unified(t.name, want.Name, t.have[k], want))
		}
		for _, gone := range t.remove {
			b.Write(unified(t.name, gone.Name, gone, nil))
		}
	}
	return b.String()
}

func unified(table, name string, have, want *Chain) []byte {
	text := func(c *Chain) []byte {
		if c == nil {
			return nil
		}
		var b strings.Builder
		if c.Policy == "" {
			b.WriteString(":" + name + " -\n")
		}
		for _, rule := range c.Rules {
			appendRule(&b, name, rule)
		}
		return []byte(b.String())
	}
	out := diff.Diff("kernel "+table+" "+name, text(have), "wanted "+table+" "+name, text(want))
	_, hunks, _ := bytes.Cut(out, []byte("\n")) // the first line repeats the names as a command
	return hunks
}
