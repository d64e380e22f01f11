package ipset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// Tables are those of iptables of one family, to read.
type Tables interface {
	// Save returns a table as iptables-save prints it; with an error, what could
	// be read of it.
	Save(ctx context.Context, table string) (string, error)
}

// ourTables may have rules of ours that match sets; those of others may stand in
// allTables.
var (
	ourTables = []string{iptables.NAT, iptables.Filter, iptables.Mangle} //nolint:gochecknoglobals // a constant list
	allTables = append(slices.Clone(ourTables), "raw")                   //nolint:gochecknoglobals // a constant list
)

// release finds the rules that keep sets from being destroyed, and returns the
// inputs of iptables-restore that delete them.
func release(ctx context.Context, rules iptables.Kernel, sets []Set) ([]string, error) {
	if len(sets) == 0 {
		return nil, nil
	}
	if rules == nil {
		return nil, fmt.Errorf("set %s has type %s, which is wrong, and rules refer to it: delete them, then: ipset destroy %s",
			sets[0].Name, sets[0].Type, sets[0].Name)
	}
	var inputs []string
	for _, table := range ourTables {
		saved, err := rules.Save(ctx, table)
		if err != nil {
			return nil, fmt.Errorf("looking for rules that refer to set %s: table %s: %w", sets[0].Name, table, err)
		}
		kernel, err := iptables.ParseSave(saved)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
		}
		found, err := referring(kernel, sets)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue
		}
		var b strings.Builder
		b.WriteString("*" + table + "\n")
		for _, rule := range found {
			b.WriteString("-D " + rule + "\n")
		}
		b.WriteString("COMMIT\n")
		inputs = append(inputs, b.String())
	}
	return inputs, nil
}

// referring are the rules that match one of the sets, each with the chain's name
// before it. If one of them is somebody else's, none are ours to delete.
func referring(kernel iptables.Ruleset, sets []Set) ([]string, error) {
	var found []string
	var failed []error
	for _, u := range usesOf(iptables.Foreign(kernel)) {
		if s, ok := u.ofOne(sets); ok {
			failed = append(failed, fmt.Errorf("set %s has type %s, which is wrong, and is kept by a rule that is not ours: delete it: table %s: -D %s",
				s.Name, s.Type, u.table, u.rule))
		}
	}
	for _, u := range usesOf(kernel) {
		if _, ok := u.ofOne(sets); ok {
			found = append(found, u.rule)
		}
	}
	return found, errors.Join(failed...)
}

// foreignUse notes, for each set that rules of others in a table use, one of
// them.
func foreignUse(ctx context.Context, tables Tables, table string, found map[string]string) error {
	saved, unread := tables.Save(ctx, table)
	kernel, err := iptables.ParseSave(saved)
	for _, u := range usesOf(iptables.Foreign(kernel)) {
		for _, name := range u.sets {
			found[name] = "table " + u.table + ": -A " + u.rule
		}
	}
	if err = errors.Join(unread, err); err != nil {
		return fmt.Errorf("table %s: %w", table, err)
	}
	return nil
}

// A use is a rule, with its chain's name before it, that uses sets.
type use struct {
	table, rule string
	sets        []string
}

// ofOne is the first of the sets that the rule uses.
func (u use) ofOne(sets []Set) (Set, bool) {
	i := slices.IndexFunc(sets, func(s Set) bool { return slices.Contains(u.sets, s.Name) })
	if i < 0 {
		return Set{}, false
	}
	return sets[i], true
}

// usesOf are the rules that use sets.
func usesOf(kernel iptables.Ruleset) []use {
	var uses []use
	for _, table := range kernel.Tables {
		for _, chain := range table.Chains {
			for _, rule := range chain.Rules {
				if sets := setsOf(rule); len(sets) > 0 {
					uses = append(uses, use{table.Name, chain.Name + " " + rule, sets})
				}
			}
		}
	}
	return uses
}

// setsOf are the names of the sets a rule matches or fills.
func setsOf(rule string) []string {
	if !strings.Contains(rule, "-set ") {
		return nil
	}
	var names []string
	words, _ := iptables.AppendWords(nil, rule) // iptables-save printed it
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "--comment": // which may say anything
			i++
		case "--match-set", "--add-set", "--del-set", "--map-set":
			names = append(names, words[i+1])
		}
	}
	return names
}
