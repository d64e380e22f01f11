// Package iptablestest has a strict stand-in for the kernel's tables, for tests
// of whatever writes to them.
package iptablestest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// A Kernel keeps tables like the real one: a table of a call is committed as a
// whole or not at all, a rule may only jump to what exists, and a chain that is
// not empty or is jumped to cannot be deleted.
type Kernel struct {
	// Refuse, if set, says whether the kernel would not take a rule.
	Refuse func(chain, rule string) bool
	// HideLine withholds the line of refused rules, as iptables-legacy does.
	HideLine bool
	// LineOffset is how far the line of a refused rule is off, as the tools'
	// sometimes is.
	LineOffset int
	// FailWrite, if set, is asked before each Restore, counted from 1; what it
	// returns is the call's error, before anything is written.
	FailWrite func(n int) error

	mu     sync.Mutex
	tables map[string]table
	inputs []string
}

// A table is its chains; built-in ones have a policy.
type table map[string]*chain

type chain struct {
	policy string
	rules  []string
}

// New returns a kernel with nothing but built-in chains, like a host that was
// just started.
func New() *Kernel {
	builtin := func(names ...string) table {
		t := table{}
		for _, name := range names {
			t[name] = &chain{policy: "ACCEPT"}
		}
		return t
	}
	return &Kernel{tables: map[string]table{
		"nat":    builtin("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
		"filter": builtin("INPUT", "FORWARD", "OUTPUT"),
		"mangle": builtin("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
	}}
}

// Save prints a table.
func (k *Kernel) Save(_ context.Context, name string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.tables[name]
	if !ok {
		return "", fmt.Errorf("no table %q", name)
	}
	return t.String(name), nil
}

// SaveChain prints a chain.
func (k *Kernel) SaveChain(_ context.Context, name, chainName string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.tables[name]
	if !ok {
		return "", fmt.Errorf("no table %q", name)
	}
	c := t[chainName]
	if c == nil {
		return "", nil
	}
	var b strings.Builder
	if c.policy != "" {
		b.WriteString("-P " + chainName + " " + c.policy + "\n")
	} else {
		b.WriteString("-N " + chainName + "\n")
	}
	for _, rule := range c.rules {
		b.WriteString("-A " + chainName + " " + rule + "\n")
	}
	return b.String(), nil
}

// String is the whole kernel as text.
func (k *Kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k.tables)) {
		b.WriteString(k.tables[name].String(name))
	}
	return b.String()
}

func (t table) String(name string) string {
	rs := iptables.Table{Name: name}
	for _, chainName := range slices.Sorted(maps.Keys(t)) {
		c := t[chainName]
		rs.Chains = append(rs.Chains, &iptables.Chain{Name: chainName, Policy: c.policy, Rules: c.rules})
	}
	return iptables.Ruleset{Tables: []iptables.Table{rs}}.String()
}

// Inputs are the inputs of all Restore calls that succeeded.
func (k *Kernel) Inputs() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.inputs)
}

// Must is a Restore by somebody else; it panics when the input is wrong, for
// that is the test's mistake.
func (k *Kernel) Must(input string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.restore(input, nil); err != nil {
		panic(err)
	}
}

// Restore does what iptables-restore --noflush does.
func (k *Kernel) Restore(_ context.Context, input string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.FailWrite != nil {
		if err := k.FailWrite(len(k.inputs) + 1); err != nil {
			return err
		}
	}
	if err := k.restore(input, k.Refuse); err != nil {
		return err
	}
	k.inputs = append(k.inputs, input)
	return nil
}

func (k *Kernel) restore(input string, refuse func(chain, rule string) bool) error {
	var name string
	var work table
	n := 0
	for line := range strings.Lines(input) {
		n++
		line = strings.TrimSuffix(line, "\n")
		var err error
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '*':
			if name != "" || k.tables[line[1:]] == nil {
				err = fmt.Errorf("bad table line %q", line)
				break
			}
			name = line[1:]
			work = k.tables[name].clone()
		case name == "":
			err = fmt.Errorf("%q outside of a table", line)
		case line == "COMMIT":
			if err = work.check(); err == nil {
				k.tables[name], name = work, ""
			}
		default:
			err = work.command(line, refuse)
		}
		if err != nil {
			e := &iptables.RestoreError{Line: n, Output: fmt.Sprintf("line %d: %v", n, err)}
			if errors.Is(err, errRefused) {
				e.Line = max(e.Line+k.LineOffset, 0)
				if k.HideLine {
					e.Line, e.Output = 0, "COMMIT failed"
				}
			}
			return e
		}
	}
	if name != "" {
		return &iptables.RestoreError{Line: n, Output: "no COMMIT"}
	}
	return nil
}

var errRefused = errors.New("Invalid argument") //nolint:staticcheck // the kernel's own words, EINVAL

func (t table) clone() table {
	c := table{}
	for name, old := range t {
		c[name] = &chain{old.policy, slices.Clone(old.rules)}
	}
	return c
}

func (t table) command(line string, refuse func(chain, rule string) bool) error {
	if declared, ok := strings.CutPrefix(line, ":"); ok {
		name, _, _ := strings.Cut(declared, " ")
		if len(name) > 28 {
			return fmt.Errorf("chain name %q is too long", name)
		}
		if c := t[name]; c != nil && c.policy != "" {
			return fmt.Errorf("%s is a built-in chain", name)
		}
		t[name] = &chain{}
		return nil
	}
	verb, rest, _ := strings.Cut(line, " ")
	name, rule, _ := strings.Cut(rest, " ")
	c := t[name]
	if c == nil {
		return fmt.Errorf("no chain %q", name)
	}
	switch verb {
	case "-A", "-I":
		if refuse != nil && refuse(name, rule) {
			return fmt.Errorf("rule in chain %s: %w", name, errRefused)
		}
		if verb == "-A" {
			c.rules = append(c.rules, rule)
		} else {
			c.rules = slices.Insert(c.rules, 0, rule)
		}
	case "-D":
		i := slices.Index(c.rules, rule)
		if i < 0 {
			return fmt.Errorf("no rule %q in chain %s", rule, name)
		}
		c.rules = slices.Delete(c.rules, i, i+1)
	case "-X":
		if c.policy != "" || len(c.rules) > 0 {
			return fmt.Errorf("chain %s is built in or not empty", name)
		}
		delete(t, name)
	default:
		return fmt.Errorf("unknown command %q", line)
	}
	return nil
}

// check refuses jumps to chains that are not there.
func (t table) check() error {
	for name, c := range t {
		for _, rule := range c.rules {
			i := strings.LastIndex(rule, "-j ")
			if i < 0 {
				continue
			}
			target, _, _ := strings.Cut(rule[i+len("-j "):], " ")
			if t[target] == nil && !slices.Contains(builtinTargets, target) {
				return fmt.Errorf("chain %s jumps to %s, which is not there", name, target)
			}
		}
	}
	return nil
}

var builtinTargets = []string{"ACCEPT", "DROP", "RETURN", "REJECT", "MARK", "MASQUERADE", "DNAT"} //nolint:gochecknoglobals // a constant list
