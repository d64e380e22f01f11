package tracer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// newModule returns the reader of a match extension's options; nil for one
// that is not known.
func newModule(name string) module {
	switch name {
	case "comment":
		return &commentModule{}
	case "tcp":
		return &portsModule{proto: protoTCP, name: name}
	case "udp":
		return &portsModule{proto: protoUDP, name: name}
	case "sctp":
		return &portsModule{proto: protoSCTP, name: name}
	case "multiport":
		return &multiportModule{}
	case "mark":
		return &markModule{}
	case "conntrack":
		return &conntrackModule{}
	case "addrtype":
		return &addrtypeModule{}
	case "statistic":
		return &statisticModule{}
	case "recent":
		return newRecentModule()
	case "bpf":
		return &bpfModule{}
	case "set":
		return &setModule{}
	case "ipvs":
		return &ipvsModule{}
	case "nfacct":
		return &nfacctModule{}
	}
	return nil
}

func unknownOption(name string) error { return fmt.Errorf("unknown option %s", name) }

// commentModule says nothing about packets.
type commentModule struct{ read bool }

func (m *commentModule) option(p *ruleParser, name string) error {
	if name != "--comment" {
		return unknownOption(name)
	}
	m.read = true
	_, err := p.value(name)
	return err
}

func (m *commentModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--comment missing")
	}
	return nil
}

// nfacctModule counts packets, and matches all of them.
type nfacctModule struct{ read bool }

func (m *nfacctModule) option(p *ruleParser, name string) error {
	if name != "--nfacct-name" {
		return unknownOption(name)
	}
	m.read = true
	_, err := p.value(name)
	return err
}

func (m *nfacctModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--nfacct-name missing")
	}
	return nil
}

// markModule is [!] --mark VALUE[/MASK].
type markModule struct{ read bool }

func (m *markModule) option(p *ruleParser, name string) error {
	if name != "--mark" {
		return unknownOption(name)
	}
	m.read = true
	s, err := p.value(name)
	if err != nil {
		return err
	}
	value, mask, err := parseMasked(s)
	if err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	not := p.negated()
	p.when(func(f *flow) bool { return (f.mark&mask == value) != not })
	return nil
}

func (m *markModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--mark missing")
	}
	return nil
}

// addrtypeModule is [!] --src-type LOCAL, [!] --dst-type LOCAL.
type addrtypeModule struct{ read bool }

func (m *addrtypeModule) option(p *ruleParser, name string) error {
	if name != "--src-type" && name != "--dst-type" {
		return unknownOption(name)
	}
	m.read = true
	s, err := p.value(name)
	if err != nil {
		return err
	}
	if s != "LOCAL" {
		return fmt.Errorf("option %s: address type %q: only LOCAL is known", name, s)
	}
	not := p.negated()
	if name == "--src-type" {
		p.when(func(f *flow) bool { return f.host.isLocal(f.src) != not })
	} else {
		p.when(func(f *flow) bool { return f.host.isLocal(f.dst) != not })
	}
	return nil
}

func (m *addrtypeModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("neither --src-type nor --dst-type")
	}
	return nil
}

// statisticModule is --mode random [!] --probability P. Mode nth counts
// packets and so has no place in a trace of one.
type statisticModule struct {
	mode   string
	chance float64
	read   bool
}

func (m *statisticModule) option(p *ruleParser, name string) error {
	if name != "--mode" && name != "--probability" {
		return unknownOption(name)
	}
	s, err := p.value(name)
	if err != nil {
		return err
	}
	if name == "--mode" {
		m.mode = s
		return nil
	}
	chance, err := strconv.ParseFloat(s, 64)
	if err != nil || !(chance >= 0 && chance <= 1) {
		return fmt.Errorf("option %s: %q: want a number from 0 to 1", name, s)
	}
	// The kernel compares 31 random bits with a whole number.
	const steps = 1 << 31
	m.chance = float64(int64(chance*steps+0.5)) / steps
	if p.negated() {
		m.chance = 1 - m.chance
	}
	m.read = true
	return nil
}

func (m *statisticModule) finish(p *ruleParser) error {
	switch {
	case m.mode != "random":
		return fmt.Errorf("mode %q: only random is known", m.mode)
	case !m.read:
		return fmt.Errorf("--probability missing")
	}
	p.rule.tests = append(p.rule.tests, test{chance: m.chance})
	return nil
}

// deviceMatch returns the test for a device name of -i or -o.
func deviceMatch(name string) func(device string) bool {
	if prefix, ok := strings.CutSuffix(name, "+"); ok {
		return func(device string) bool { return strings.HasPrefix(device, prefix) }
	}
	return func(device string) bool { return device == name }
}

// parsePrefix reads ADDRESS or ADDRESS/LENGTH.
func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: want an address or ADDRESS/LENGTH", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want an address or ADDRESS/LENGTH", s)
	}
	return prefix.Masked(), nil
}

// parseMasked reads VALUE or VALUE/MASK, 32 bits each, decimal or 0x….
func parseMasked(s string) (value, mask uint32, err error) {
	v, m, masked := strings.Cut(s, "/")
	if value, err = parseUint32(v); err != nil {
		return 0, 0, err
	}
	if !masked {
		return value, ^uint32(0), nil
	}
	mask, err = parseUint32(m)
	return value, mask, err
}

func parseUint32(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q: want a number of 32 bits", s)
	}
	return uint32(n), nil
}
