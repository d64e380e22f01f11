package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// The tables this package writes.
const (
	NAT    = "nat"
	Filter = "filter"
	Mangle = "mangle" // only to remove what kube-proxy left there
)

// A Ruleset is the content of some tables of one IP family: a value that is
// printed, compared and traced without a kernel. Tables come in the order in
// which they are applied.
type Ruleset struct {
	Tables []Table
}

// A Table is the chains of one table, sorted by name.
type Table struct {
	Name   string
	Chains []*Chain
}

// A Chain is immutable once it is part of a Ruleset, so that rulesets can
// share it: equal pointers mean equal chains.
type Chain struct {
	Name string
	// Policy is the verdict at the end of a built-in chain, such as "ACCEPT";
	// empty for a user-defined chain.
	Policy string
	// Rules are in the form iptables-save prints, without "-A NAME ".
	Rules []string
}

// Equal reports whether the two chains have the same rules in the same order.
func (c *Chain) Equal(d *Chain) bool {
	return c == d || slices.Equal(c.Rules, d.Rules)
}

// Table returns the table of that name; an empty one when there is none.
func (r Ruleset) Table(name string) Table {
	for _, t := range r.Tables {
		if t.Name == name {
			return t
		}
	}
	return Table{Name: name}
}

// Chain returns the chain of that name, or nil.
func (t Table) Chain(name string) *Chain {
	i, found := slices.BinarySearchFunc(t.Chains, name, func(c *Chain, name string) int {
		return strings.Compare(c.Name, name)
	})
	if !found {
		return nil
	}
	return t.Chains[i]
}

// RuleCount is the number of rules in the table.
func (t Table) RuleCount() int {
	n := 0
	for _, c := range t.Chains {
		n += len(c.Rules)
	}
	return n
}

// String renders the ruleset in the format of iptables-save(8), without
// comments, dates and counters' values.
func (r Ruleset) String() string {
	var b strings.Builder
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "*%s\n", t.Name)
		for _, c := range t.Chains {
			policy := c.Policy
			if policy == "" {
				policy = "-"
			}
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c.Name, policy)
		}
		for _, c := range t.Chains {
			for _, rule := range c.Rules {
				appendRule(&b, c.Name, rule)
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func appendRule(b *strings.Builder, chain, rule string) {
	b.WriteString("-A ")
	b.WriteString(chain)
	b.WriteByte(' ')
	b.WriteString(rule)
	b.WriteByte('\n')
}
