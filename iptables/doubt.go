package iptables

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Doubt is what somebody else may have changed since it was written or read.
// The zero Doubt is none.
type Doubt struct {
	// All means everything.
	All bool
	// Tables are those of which anything may be different.
	Tables map[string]bool
	// Chains are single chains, by table.
	Chains map[string]map[string]bool
}

// maxDoubtful is how many chains are read one by one; beyond that the table is
// read as a whole. One takes 3 ms with iptables-nft, a table of 10,000 Services
// 700 ms.
const maxDoubtful = 32

// Empty reports whether there is none.
func (d *Doubt) Empty() bool { return !d.All && len(d.Tables) == 0 && len(d.Chains) == 0 }

// Table adds a table.
func (d *Doubt) Table(table string) {
	if d.Tables == nil {
		d.Tables = map[string]bool{}
	}
	d.Tables[table] = true
	delete(d.Chains, table)
}

// Chain adds a chain; where there are many, its table.
func (d *Doubt) Chain(table, chain string) {
	if d.All || d.Tables[table] {
		return
	}
	if d.Chains == nil {
		d.Chains = map[string]map[string]bool{}
	}
	if d.Chains[table] == nil {
		d.Chains[table] = map[string]bool{}
	}
	d.Chains[table][chain] = true
	if len(d.Chains[table]) > maxDoubtful {
		d.Table(table)
	}
}

// Add adds another Doubt.
func (d *Doubt) Add(other Doubt) {
	d.All = d.All || other.All
	for table := range other.Tables {
		d.Table(table)
	}
	for table, chains := range other.Chains {
		for chain := range chains {
			d.Chain(table, chain)
		}
	}
}

// String names up to three places, such as "nat KUBE-SERVICES".
func (d *Doubt) String() string {
	if d.All {
		return "everything"
	}
	var places []string
	for _, table := range slices.Sorted(maps.Keys(d.Tables)) {
		places = append(places, "table "+table)
	}
	for _, table := range slices.Sorted(maps.Keys(d.Chains)) {
		for _, chain := range slices.Sorted(maps.Keys(d.Chains[table])) {
			places = append(places, table+" "+chain)
		}
	}
	const shown = 3
	if more := len(places) - shown; more > 0 {
		places = append(places[:shown], fmt.Sprintf("%d more", more))
	}
	return strings.Join(places, ", ")
}

// readDoubted reads what is in doubt, and returns what the kernel holds if the rest is
// as believed.
func readDoubted(ctx context.Context, k Kernel, believed Observation, d Doubt) (Observation, error) {
	now := Observation{Referenced: maps.Clone(believed.Referenced), read: maps.Clone(believed.read)}
	for _, table := range believed.Own.Tables {
		if d.Tables[table.Name] {
			kernel, err := readTables(ctx, k, []string{table.Name})
			if err != nil {
				return Observation{}, err
			}
			o := Observe(kernel)
			now.Own.Tables = append(now.Own.Tables, o.Own.Table(table.Name))
			now.Referenced[table.Name] = o.Referenced[table.Name]
			now.read[table.Name] = o.read[table.Name]
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(d.Chains[table.Name])) {
			c, err := readChain(ctx, k, table.Name, name)
			if err != nil {
				return Observation{}, err
			}
			table = table.with(name, c)
		}
		now.Own.Tables = append(now.Own.Tables, table)
	}
	return now, nil
}

// readChain is the part of a chain that is ours; nil where there is none.
func readChain(ctx context.Context, k Kernel, table, name string) (*Chain, error) {
	text, err := k.SaveChain(ctx, table, name)
	if err != nil {
		return nil, fmt.Errorf("reading chain %s of table %s: %w", name, table, err)
	}
	c, err := parseChain(name, text)
	if err != nil || c == nil {
		return nil, err
	}
	own := Observe(Ruleset{Tables: []Table{{Name: table, Chains: []*Chain{c}}}}).Own
	return own.Table(table).Chain(name), nil
}

// parseChain reads what iptables -S prints of one chain; nil if that is nothing.
func parseChain(name, text string) (*Chain, error) {
	var c *Chain
	for _, line := range statements(text) {
		rule, isRule := strings.CutPrefix(line, "-A "+name+" ")
		policy, isPolicy := strings.CutPrefix(line, "-P "+name+" ")
		switch {
		case isRule && c != nil:
			c.Rules = append(c.Rules, rule)
		case isPolicy && c == nil:
			c = &Chain{Name: name, Policy: policy}
		case line == "-N "+name && c == nil:
			c = &Chain{Name: name}
		case line == "-A "+name && c != nil: // a rule that does nothing
			c.Rules = append(c.Rules, "")
		default:
			return nil, fmt.Errorf("iptables -S %s: %q is none of its lines", name, line)
		}
	}
	return c, nil
}

// with is the table with another chain at that name, or without one.
func (t Table) with(name string, c *Chain) Table {
	chains := slices.Clone(t.Chains)
	i, found := slices.BinarySearchFunc(chains, name, func(c *Chain, name string) int { return strings.Compare(c.Name, name) })
	switch {
	case found && c == nil:
		chains = slices.Delete(chains, i, i+1)
	case found && c.Equal(chains[i]): // so that it stays pointer-equal
	case found:
		chains[i] = c
	case c != nil:
		chains = slices.Insert(chains, i, c)
	}
	return Table{Name: t.Name, Chains: chains}
}

// sameRules reports whether two Observations hold the same rules of ours. Where the
// chains' pointers are equal it compares nothing else.
func sameRules(a, b Ruleset) bool {
	equal := func(c, d *Chain) bool { return c == d || c.Name == d.Name && c.Equal(d) }
	return slices.EqualFunc(a.Tables, b.Tables, func(t, u Table) bool {
		return t.Name == u.Name && slices.EqualFunc(t.Chains, u.Chains, equal)
	})
}
