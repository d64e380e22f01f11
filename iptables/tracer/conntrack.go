package tracer

import (
	"fmt"
	"net/netip"
	"strings"
)

// Bits of --ctstate. SNAT and DNAT are not states of a packet but of its
// connection, and are tested like states.
const (
	ctNew = 1 << iota
	ctEstablished
	ctRelated
	ctInvalid
	ctUntracked
	ctSNAT
	ctDNAT
)

var ctBits = map[string]uint{
	"NEW": ctNew, "ESTABLISHED": ctEstablished, "RELATED": ctRelated, "INVALID": ctInvalid,
	"UNTRACKED": ctUntracked, "SNAT": ctSNAT, "DNAT": ctDNAT,
}

// conntrackModule is [!] --ctstate LIST and the original tuple's addresses and
// destination port.
type conntrackModule struct{ read bool }

func (m *conntrackModule) option(p *ruleParser, name string) error {
	var read func(p *ruleParser, value string) error
	switch name {
	case "--ctstate":
		read = (*ruleParser).ctState
	case "--ctorigsrc":
		read = func(p *ruleParser, s string) error {
			return p.ctAddress(s, func(f *flow) netip.Addr { return f.origSrc })
		}
	case "--ctorigdst":
		read = func(p *ruleParser, s string) error {
			return p.ctAddress(s, func(f *flow) netip.Addr { return f.origDst.Addr() })
		}
	case "--ctorigdstport":
		read = (*ruleParser).ctPort
	default:
		return unknownOption(name)
	}
	m.read = true
	s, err := p.value(name)
	if err != nil {
		return err
	}
	if err := read(p, s); err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	return nil
}

func (m *conntrackModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("none of --ctstate, --ctorigsrc, --ctorigdst, --ctorigdstport")
	}
	return nil
}

func (p *ruleParser) ctState(list string) error {
	var bits uint
	for name := range strings.SplitSeq(list, ",") {
		bit, ok := ctBits[name]
		if !ok {
			return fmt.Errorf("state %q: want some of NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED, SNAT, DNAT", name)
		}
		bits |= bit
	}
	not := p.negated()
	p.when(func(f *flow) bool { return (f.ctState()&bits != 0) != not })
	return nil
}

func (p *ruleParser) ctAddress(s string, of func(*flow) netip.Addr) error {
	prefix, err := parsePrefix(s)
	if err != nil {
		return err
	}
	if err := p.family.add(prefix.Addr()); err != nil {
		return err
	}
	not := p.negated()
	p.when(func(f *flow) bool { return f.tracked() && prefix.Contains(of(f)) != not })
	return nil
}

func (p *ruleParser) ctPort(s string) error {
	r, err := parsePortRange(s)
	if err != nil {
		return err
	}
	not := p.negated()
	p.when(func(f *flow) bool { return f.tracked() && r.contains(f.origDst.Port()) != not })
	return nil
}
