package iptables

import (
	"slices"
	"strings"
)

// HandBack is the Patch that turns tables into ones that kube-proxy can take
// over: every Service is served as before, without the chains that kube-proxy
// has not. Those of the nat table's trees it would delete itself, for their names
// begin like its own; what else it does not know, it would leave for ever.
//
// The rules of a tree move to its root. They match in full and do not rely on
// the path that leads to them. What packets no longer come to goes, if only
// kube-proxier has it.
func HandBack(have Observation) *Patch {
	var want Ruleset
	for _, table := range have.Own.Tables {
		flat := Table{Name: table.Name}
		chains := chainsByName(table)
		for _, c := range table.Chains {
			if !treePart(c.Name) {
				rules := expand(c, chains)
				flat.Chains = append(flat.Chains, &Chain{Name: c.Name, Policy: c.Policy, Rules: rules})
			}
		}
		reached := reachable(flat)
		flat.Chains = slices.DeleteFunc(flat.Chains, func(c *Chain) bool { return unknownToKubeProxy(c.Name) && !reached[c.Name] })
		want.Tables = append(want.Tables, flat)
	}
	return Diff(have, want, 0)
}

// treePart reports whether a chain is a part of a tree, below its root.
func treePart(name string) bool {
	for _, prefix := range []string{prefixAddressDispatch, prefixPortDispatch} {
		// Named for what it holds, and not by a hash, which is in base32.
		if holds, ok := strings.CutPrefix(name, prefix); ok && strings.Trim(holds, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			return true
		}
	}
	return slices.ContainsFunc(
		[]string{prefixAddressTree, prefixPortTree, prefixHealthTree, prefixOutputTree, prefixHairpinTree},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// unknownToKubeProxy reports whether kube-proxy has no such chain in any mode.
func unknownToKubeProxy(name string) bool {
	return slices.Contains([]string{chainHairpin, chainRejectPorts, chainOutput}, name)
}

// expand is a chain's rules with those of trees in place of the jumps to them.
func expand(c *Chain, chains map[string]*Chain) []string {
	var rules []string
	for _, rule := range c.Rules {
		target := jumpTarget(rule)
		switch {
		case !treePart(target):
			rules = append(rules, rule)
		case chains[target] != nil:
			rules = append(rules, expand(chains[target], chains)...)
		}
	}
	return rules
}

func chainsByName(table Table) map[string]*Chain {
	chains := make(map[string]*Chain, len(table.Chains))
	for _, c := range table.Chains {
		chains[c.Name] = c
	}
	return chains
}

// reachable are the chains that packets may come to from a built-in one.
func reachable(table Table) map[string]bool {
	found, chains := map[string]bool{}, chainsByName(table)
	var next []*Chain
	for _, c := range table.Chains {
		if c.Policy != "" {
			next = append(next, c)
		}
	}
	for len(next) > 0 {
		c := next[len(next)-1]
		next = next[:len(next)-1]
		for _, rule := range c.Rules {
			target := chains[jumpTarget(rule)]
			if target != nil && !found[target.Name] {
				found[target.Name] = true
				next = append(next, target)
			}
		}
	}
	return found
}
