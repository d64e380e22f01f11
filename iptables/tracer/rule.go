package tracer

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// A rule is one parsed rule. It matches when all its tests do, which are made
// in the order of the text, because some have effects.
type rule struct {
	text   string
	tests  []test
	target target
}

// A test is one of three things: a condition without effects, a use of an
// xt_recent list, or (when both are nil) a random choice.
type test struct {
	cond   func(*flow) bool
	recent *recentTest
	chance float64
}

// ruleParser reads the words of one rule. It is reused from rule to rule to
// keep its buffers; family and the rule's parts are all it carries.
type ruleParser struct {
	sets map[string]Set

	words []string
	next  int
	not   bool // a "!" stands before the option being read, and nobody has asked for it yet

	rule   rule
	proto  uint8 // of a -p without "!"; zero otherwise
	module module
	name   string   // of module
	seen   []string // options since the last -m (or the rule's begin)

	family family // of all the addresses in all rules read so far
}

// A module reads the options of one match extension (-m NAME).
type module interface {
	// option reads the option and its values from p.
	option(p *ruleParser, name string) error
	// finish adds the module's tests to p.rule; it is an error if the options
	// it cannot do without are missing.
	finish(p *ruleParser) error
}

// parse reads a rule in the form iptables-save prints, without "-A CHAIN".
func (p *ruleParser) parse(text string) (rule, error) {
	words, err := iptables.AppendWords(p.words[:0], text)
	if err != nil {
		return rule{}, err
	}
	*p = ruleParser{sets: p.sets, words: words, seen: p.seen[:0], family: p.family, rule: rule{text: text}}
	for p.next < len(p.words) {
		if err := p.part(); err != nil {
			return rule{}, err
		}
	}
	if err := p.finishModule(); err != nil {
		return rule{}, err
	}
	return p.rule, nil
}

// part reads one option of the rule with its values.
func (p *ruleParser) part() error {
	option := p.words[p.next]
	p.next++
	if option == "!" {
		if p.next == len(p.words) || p.words[p.next] == "!" {
			return fmt.Errorf(`"!" without an option after it`)
		}
		p.not = true
		option = p.words[p.next]
		p.next++
	}
	if option != "-m" {
		if slices.Contains(p.seen, option) {
			return fmt.Errorf("option %s is given twice", option)
		}
		p.seen = append(p.seen, option)
	}
	if err := p.dispatch(option); err != nil {
		return err
	}
	if p.not {
		return fmt.Errorf(`option %s takes no "!"`, option)
	}
	return nil
}

func (p *ruleParser) dispatch(option string) error {
	switch option {
	case "-s", "-d":
		return p.address(option)
	case "-i", "-o":
		return p.device(option)
	case "-p":
		return p.protocol()
	case "-m":
		return p.startModule()
	case "-j", "-g":
		if err := p.finishModule(); err != nil {
			return err
		}
		return p.readTarget(option)
	}
	if p.module == nil {
		return fmt.Errorf("unknown option %s", option)
	}
	return p.module.option(p, option)
}

// value takes the next word, the option's value.
func (p *ruleParser) value(option string) (string, error) {
	if p.next == len(p.words) {
		return "", fmt.Errorf("option %s without its value", option)
	}
	p.next++
	return p.words[p.next-1], nil
}

// negated tells whether "!" stands before the option, and takes note that the
// option cares.
func (p *ruleParser) negated() bool {
	not := p.not
	p.not = false
	return not
}

// when adds a condition.
func (p *ruleParser) when(cond func(*flow) bool) {
	p.rule.tests = append(p.rule.tests, test{cond: cond})
}

func (p *ruleParser) startModule() error {
	if err := p.finishModule(); err != nil {
		return err
	}
	name, err := p.value("-m")
	if err != nil {
		return err
	}
	if p.module = newModule(name); p.module == nil {
		return fmt.Errorf("unknown match -m %s", name)
	}
	p.name = name
	p.seen = p.seen[:0]
	return nil
}

func (p *ruleParser) finishModule() error {
	if p.module == nil {
		return nil
	}
	m := p.module
	p.module = nil
	if err := m.finish(p); err != nil {
		return fmt.Errorf("match -m %s: %w", p.name, err)
	}
	return nil
}

// address reads -s and -d.
func (p *ruleParser) address(option string) error {
	s, err := p.value(option)
	if err != nil {
		return err
	}
	prefix, err := parsePrefix(s)
	if err != nil {
		return fmt.Errorf("option %s: %w", option, err)
	}
	if err := p.family.add(prefix.Addr()); err != nil {
		return fmt.Errorf("option %s: %w", option, err)
	}
	not := p.negated()
	if option == "-s" {
		p.when(func(f *flow) bool { return prefix.Contains(f.src) != not })
	} else {
		p.when(func(f *flow) bool { return prefix.Contains(f.dst) != not })
	}
	return nil
}

// device reads -i and -o: a name, or the beginning of one with "+" after it.
func (p *ruleParser) device(option string) error {
	name, err := p.value(option)
	if err != nil {
		return err
	}
	matches, not := deviceMatch(name), p.negated()
	if option == "-i" {
		p.when(func(f *flow) bool { return matches(f.inDevice()) != not })
	} else {
		p.when(func(f *flow) bool { return matches(f.outDevice()) != not })
	}
	return nil
}

func (p *ruleParser) protocol() error {
	s, err := p.value("-p")
	if err != nil {
		return err
	}
	proto, err := parseProtocol(s)
	if err != nil {
		return fmt.Errorf("option -p: %w", err)
	}
	not := p.negated()
	if !not {
		p.proto = proto
	}
	p.when(func(f *flow) bool { return (f.proto == proto) != not })
	return nil
}

// family is the one IP family of all the addresses in a ruleset: 0 while there
// are none, else 4 or 6.
type family int

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return 4
	}
	return 6
}

// add takes note of an address; it is an error if it is not of the family.
func (f *family) add(a netip.Addr) error {
	switch {
	case *f == 0:
		*f = familyOf(a)
	case *f != familyOf(a):
		return fmt.Errorf("address %s among rules for IPv%d", a, *f)
	}
	return nil
}
