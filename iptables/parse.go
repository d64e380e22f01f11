package iptables

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// ParseSave reads the output of iptables-save(8), with or without counters
// (-c); it is the inverse of Ruleset.String. Chains are substrings of the input,
// which stays in memory with them. A line that is none of the format's is an error that names the line.
func ParseSave(save string) (Ruleset, error) {
	var rs Ruleset
	p := saveParser{}
	for n, line := range statements(save) {
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.line(line, &rs); err != nil {
			return Ruleset{}, fmt.Errorf("iptables-save output, line %d: %w", n, err)
		}
	}
	if p.table != "" {
		return Ruleset{}, fmt.Errorf("iptables-save output ends inside table %s: no COMMIT", p.table)
	}
	return rs, nil
}

// statements are the lines of what iptables-save or iptables -S prints, without the
// newline at their end, each with the number of the first. One that ends inside a
// quoted text goes on with the next: a comment of somebody else's rule may contain a
// newline, which is printed as it is.
func statements(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		start, first, n := 0, 1, 0
		for end := 0; end < len(text); {
			n++
			if i := strings.IndexByte(text[end:], '\n'); i >= 0 {
				end += i + 1
			} else {
				end = len(text)
			}
			statement := strings.TrimSuffix(text[start:end], "\n")
			if end < len(text) && openQuote(statement) {
				continue
			}
			if !yield(first, statement) {
				return
			}
			start, first = end, n+1
		}
	}
}

// openQuote reports whether a text ends inside quotation marks. A backslash takes
// the meaning from the next character.
func openQuote(text string) bool {
	if strings.HasPrefix(text, "#") {
		return false
	}
	if !strings.Contains(text, `\`) {
		return strings.Count(text, `"`)%2 == 1
	}
	open := false
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			open = !open
		}
	}
	return open
}

// saveParser holds the table being read.
type saveParser struct {
	table  string
	chains map[string]*Chain
	last   *Chain // the chain of the rule before: rules of a chain come together
}

func (p *saveParser) line(line string, rs *Ruleset) error {
	switch {
	case line[0] == '*':
		if p.table != "" {
			return fmt.Errorf("table %s begins before COMMIT of table %s", line[1:], p.table)
		}
		if len(line) == 1 {
			return fmt.Errorf("table without a name")
		}
		p.table, p.chains, p.last = strings.Clone(line[1:]), map[string]*Chain{}, nil
		return nil
	case p.table == "":
		return fmt.Errorf("%q stands outside of a table", line)
	case line == "COMMIT":
		rs.Tables = append(rs.Tables, Table{Name: p.table, Chains: sortedChains(p.chains)})
		p.table = ""
		return nil
	case line[0] == ':':
		return p.declare(line[1:])
	default:
		return p.rule(line)
	}
}

// declare reads "NAME POLICY [packets:bytes]".
func (p *saveParser) declare(s string) error {
	name, rest, _ := strings.Cut(s, " ")
	policy, _, _ := strings.Cut(rest, " ")
	if name == "" || policy == "" {
		return fmt.Errorf("chain declaration %q: want :NAME POLICY [packets:bytes]", ":"+s)
	}
	if policy == "-" {
		policy = ""
	}
	p.chains[name] = &Chain{Name: name, Policy: policy}
	return nil
}

// rule reads "[packets:bytes] -A NAME SPEC"; the counters are optional.
func (p *saveParser) rule(line string) error {
	if line[0] == '[' {
		_, rest, ok := strings.Cut(line, "] ")
		if !ok {
			return fmt.Errorf("counters without end in %q", line)
		}
		line = rest
	}
	rest, ok := strings.CutPrefix(line, "-A ")
	if !ok {
		return fmt.Errorf("%q: want a rule that begins with -A", line)
	}
	name, spec, _ := strings.Cut(rest, " ")
	if p.last == nil || p.last.Name != name {
		if p.last = p.chains[name]; p.last == nil {
			return fmt.Errorf("rule in chain %q, which is not declared", name)
		}
	}
	p.last.Rules = append(p.last.Rules, spec)
	return nil
}

func sortedChains(byName map[string]*Chain) []*Chain {
	chains := make([]*Chain, 0, len(byName))
	for _, c := range byName {
		chains = append(chains, c)
	}
	slices.SortFunc(chains, func(a, b *Chain) int { return strings.Compare(a.Name, b.Name) })
	return chains
}
