package iptables

import (
	"slices"
	"strings"
)

// An Observation is what the kernel holds, divided by ownership.
type Observation struct {
	// Own are our chains, and built-in chains reduced to the rules that jump to
	// our chains: the same form as Compiled.Ruleset.
	Own Ruleset
	// Referenced are, by table, chains of ours that rules of others jump to;
	// they cannot be deleted.
	Referenced map[string]map[string]bool
	// read are, by table, the readings it comes from, or was written after.
	read map[string]*reading
}

// A reading is what else was found when a table was read.
type reading struct {
	// others is how many entries the legacy variant had besides ours.
	others int
}

// Observe picks out what is ours.
func Observe(kernel Ruleset) Observation {
	o := Observation{Referenced: map[string]map[string]bool{}, read: map[string]*reading{}}
	for _, table := range kernel.Tables {
		own, all := Table{Name: table.Name}, 1 // each table has one at its end
		for _, c := range table.Chains {
			all += len(c.Rules) + 1 // that of a policy, or of a chain's end
			if c.Policy == "" {
				all++ // and that of its head
			}
			if OwnedChain(table.Name, c.Name) {
				own.Chains = append(own.Chains, c)
				continue
			}
			jumps := o.jumps(table.Name, c)
			if c.Policy != "" && len(jumps) > 0 {
				own.Chains = append(own.Chains, &Chain{Name: c.Name, Policy: c.Policy, Rules: jumps})
			}
		}
		o.Own.Tables = append(o.Own.Tables, own)
		o.read[table.Name] = &reading{others: all - o.entries(table.Name)}
	}
	return o
}

// Foreign is the rest: what others have, without our chains and the jumps to
// them in built-in chains.
func Foreign(kernel Ruleset) Ruleset {
	var others Ruleset
	for _, table := range kernel.Tables {
		foreign := Table{Name: table.Name}
		for _, c := range table.Chains {
			if OwnedChain(table.Name, c.Name) {
				continue
			}
			rules := slices.DeleteFunc(slices.Clone(c.Rules), func(rule string) bool {
				return c.Policy != "" && OwnedChain(table.Name, jumpTarget(rule))
			})
			foreign.Chains = append(foreign.Chains, &Chain{Name: c.Name, Policy: c.Policy, Rules: rules})
		}
		others.Tables = append(others.Tables, foreign)
	}
	return others
}

// jumps are the rules of somebody else's chain that lead to ours. In a
// built-in chain we, or a kube-proxy before us, put them there; in another
// chain they are its owner's.
func (o *Observation) jumps(table string, c *Chain) []string {
	var rules []string
	for _, rule := range c.Rules {
		target := jumpTarget(rule)
		if target == "" || !OwnedChain(table, target) {
			continue
		}
		rules = append(rules, rule)
		if c.Policy == "" {
			if o.Referenced[table] == nil {
				o.Referenced[table] = map[string]bool{}
			}
			o.Referenced[table][strings.Clone(target)] = true // it outlives the chain
		}
	}
	return rules
}

// jumpTarget is the chain or target a rule ends in; "" when it has none. It is
// the word after the last -j or -g outside of quotes: a comment may hold
// anything.
func jumpTarget(rule string) string {
	rule = rule[strings.LastIndexByte(rule, '"')+1:]
	for i := len(rule); ; {
		if i = strings.LastIndexByte(rule[:i], '-'); i < 0 {
			return ""
		}
		flag := rule[i:]
		if i > 0 && rule[i-1] != ' ' || !strings.HasPrefix(flag, "-j ") && !strings.HasPrefix(flag, "-g ") {
			continue
		}
		target, _, _ := strings.Cut(flag[len("-j "):], " ")
		return target
	}
}
