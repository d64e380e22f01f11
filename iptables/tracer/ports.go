package tracer

import (
	"fmt"
	"strconv"
	"strings"
)

// portRange is from lo to hi, both included.
type portRange struct{ lo, hi uint16 }

func (r portRange) contains(port uint16) bool { return r.lo <= port && port <= r.hi }

// parsePortRange reads PORT or LO:HI, where either side may be left out.
func parsePortRange(s string) (portRange, error) {
	lo, hi, ranged := strings.Cut(s, ":")
	if !ranged {
		hi = lo
	} else if lo == "" {
		lo = "0"
	}
	if ranged && hi == "" {
		hi = "65535"
	}
	l, err := strconv.ParseUint(lo, 10, 16)
	if err != nil {
		return portRange{}, fmt.Errorf("port %q: want PORT or LO:HI, from 0 to 65535", s)
	}
	h, err := strconv.ParseUint(hi, 10, 16)
	if err != nil || h < l {
		return portRange{}, fmt.Errorf("port %q: want PORT or LO:HI, from 0 to 65535", s)
	}
	return portRange{uint16(l), uint16(h)}, nil
}

// portsModule is tcp, udp or sctp with [!] --sport and [!] --dport.
type portsModule struct {
	proto uint8
	name  string
}

func (m *portsModule) option(p *ruleParser, name string) error {
	if name != "--sport" && name != "--dport" {
		return unknownOption(name)
	}
	s, err := p.value(name)
	if err != nil {
		return err
	}
	r, err := parsePortRange(s)
	if err != nil {
		return fmt.Errorf("option %s: %w", name, err)
	}
	not := p.negated()
	if name == "--sport" {
		p.when(func(f *flow) bool { return r.contains(f.srcPort) != not })
	} else {
		p.when(func(f *flow) bool { return r.contains(f.dstPort) != not })
	}
	return nil
}

func (m *portsModule) finish(p *ruleParser) error {
	if p.proto != m.proto {
		return fmt.Errorf("needs -p %s", m.name)
	}
	return nil
}

// multiportModule is [!] --sports, --dports or --ports with a list of ports.
type multiportModule struct{ read bool }

func (m *multiportModule) option(p *ruleParser, name string) error {
	if name != "--sports" && name != "--dports" && name != "--ports" {
		return unknownOption(name)
	}
	m.read = true
	s, err := p.value(name)
	if err != nil {
		return err
	}
	var ranges []portRange
	for part := range strings.SplitSeq(s, ",") {
		r, err := parsePortRange(part)
		if err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		ranges = append(ranges, r)
	}
	src, dst, not := name != "--dports", name != "--sports", p.negated()
	p.when(func(f *flow) bool {
		for _, r := range ranges {
			if src && r.contains(f.srcPort) || dst && r.contains(f.dstPort) {
				return !not
			}
		}
		return not
	})
	return nil
}

func (m *multiportModule) finish(p *ruleParser) error {
	switch {
	case !m.read:
		return fmt.Errorf("none of --sports, --dports, --ports")
	case !hasPorts(p.proto):
		return fmt.Errorf("needs -p with a protocol that has ports")
	}
	return nil
}
