package ipset

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules are the tables of iptables of one family. An iptables.Kernel is one.
type Rules interface {
	// Save returns a table as iptables-save prints it.
	Save(ctx context.Context, table string) (string, error)
	// Restore sends the input to iptables-restore --noflush.
	Restore(ctx context.Context, input string) error
}

// tables are those whose rules may match sets of ours.
var tables = []string{"nat", "filter", "mangle"} //nolint:gochecknoglobals // a constant list

// release finds the rules that keep sets from being destroyed, and returns the
// inputs of iptables-restore that delete them.
func release(ctx context.Context, rules Rules, sets []Set) ([]string, error) {
	if len(sets) == 0 {
		return nil, nil
	}
	if rules == nil {
		return nil, fmt.Errorf("set %s has type %s, which is wrong, and rules refer to it: delete them, then: ipset destroy %s",
			sets[0].Name, sets[0].Type, sets[0].Name)
	}
	var inputs []string
	for _, table := range tables {
		saved, err := rules.Save(ctx, table)
		if err != nil {
			return nil, fmt.Errorf("looking for rules that refer to set %s: table %s: %w", sets[0].Name, table, err)
		}
		found, err := referring(saved, sets)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", table, err)
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

// referring are the rules of a table that match one of the sets, each with the
// chain's name before it. Only rules of chains whose name begins with KUBE- are
// ours to delete.
func referring(saved string, sets []Set) ([]string, error) {
	var found []string
	var failed []error
	for line := range strings.Lines(saved) {
		rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A ")
		if !ok {
			continue
		}
		for _, name := range setsOf(rule) {
			i := slices.IndexFunc(sets, func(s Set) bool { return s.Name == name })
			if i < 0 {
				continue
			}
			if !strings.HasPrefix(rule, prefix) {
				failed = append(failed, fmt.Errorf("set %s has type %s, which is wrong, and is kept by a rule that is not ours: delete it: -D %s",
					name, sets[i].Type, rule))
				break
			}
			found = append(found, rule)
			break
		}
	}
	return found, errors.Join(failed...)
}

// setsOf are the names of the sets a rule matches or fills.
func setsOf(rule string) []string {
	var names []string
	words := strings.Fields(rule)
	for i := 1; i < len(words); i++ {
		switch words[i-1] {
		case "--match-set", "--add-set", "--del-set", "--map-set":
			names = append(names, words[i])
		}
	}
	return names
}

// foreignUse are the names of the sets that rules use in chains whose name does
// not begin with KUBE-.
func foreignUse(saved string) []string {
	var names []string
	for line := range strings.Lines(saved) {
		if rule, ok := strings.CutPrefix(strings.TrimSpace(line), "-A "); ok && !strings.HasPrefix(rule, prefix) {
			names = append(names, setsOf(rule)...)
		}
	}
	return names
}
