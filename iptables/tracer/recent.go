package tracer

import (
	"fmt"
	"net/netip"
	"strconv"
)

// recentTest is one use of an xt_recent list, a set of addresses.
//
//	set      add the address, or renew it; matches always
//	rcheck   matches when the address is in the list
//	update   as rcheck, and renews the address when it matches
//	remove   as rcheck, and takes the address out
type recentTest struct {
	op   string // the option, without dashes
	not  bool
	list string
	mask netip.Addr
	dst  bool // the list keeps destinations instead of sources
}

// recentChange is what the packet has done to a list.
type recentChange struct {
	list  string
	addr  netip.Addr
	added bool // or renewed; else removed
}

type recentModule struct{ test recentTest }

func newRecentModule() *recentModule {
	return &recentModule{recentTest{list: "DEFAULT"}}
}

func (m *recentModule) option(p *ruleParser, name string) error {
	switch name {
	case "--set", "--rcheck", "--update", "--remove":
		if m.test.op != "" {
			return fmt.Errorf("option %s: after --%s", name, m.test.op)
		}
		m.test.op, m.test.not = name[2:], p.negated()
	case "--rsource":
	case "--rdest":
		m.test.dst = true
	case "--reap": // entries of Host.RecentClients are all young enough
	case "--name", "--seconds", "--mask":
		return m.valued(p, name)
	default:
		return unknownOption(name)
	}
	return nil
}

func (m *recentModule) valued(p *ruleParser, name string) error {
	s, err := p.value(name)
	if err != nil {
		return err
	}
	switch name {
	case "--name":
		m.test.list = s
	case "--seconds":
		if n, err := strconv.ParseUint(s, 10, 32); err != nil || n == 0 {
			return fmt.Errorf("option %s: %q: want a number of seconds from 1", name, s)
		}
	case "--mask":
		mask, err := netip.ParseAddr(s)
		if err != nil || mask.Zone() != "" {
			return fmt.Errorf("option %s: %q: want a mask in the form of an address", name, s)
		}
		if err := p.family.add(mask); err != nil {
			return fmt.Errorf("option %s: %w", name, err)
		}
		m.test.mask = mask
	}
	return nil
}

func (m *recentModule) finish(p *ruleParser) error {
	if m.test.op == "" {
		return fmt.Errorf("none of --set, --rcheck, --update, --remove")
	}
	p.rule.tests = append(p.rule.tests, test{recent: &m.test})
	return nil
}

// run makes the test, with its effects on f; changed tells if there were any.
func (r *recentTest) run(f *flow) (matched, changed bool) {
	addr := f.src
	if r.dst {
		addr = f.dst
	}
	addr = r.masked(addr)
	found := r.op == "set" || f.inRecent(r, addr)
	matched = found != r.not
	switch {
	case r.op == "set", r.op == "update" && found && matched:
		f.noteRecent(recentChange{r.list, addr, true})
		return matched, true
	case r.op == "remove" && found:
		f.noteRecent(recentChange{r.list, addr, false})
		return matched, true
	}
	return matched, false
}

func (r *recentTest) masked(a netip.Addr) netip.Addr {
	if !r.mask.IsValid() || r.mask.Is4() != a.Is4() {
		return a
	}
	bytes, mask := a.AsSlice(), r.mask.AsSlice()
	for i := range bytes {
		bytes[i] &= mask[i]
	}
	masked, _ := netip.AddrFromSlice(bytes)
	return masked
}

// inRecent looks the address up: the packet's own changes first, newest first,
// then the host's lists.
func (f *flow) inRecent(r *recentTest, addr netip.Addr) bool {
	for i := len(f.recent) - 1; i >= 0; i-- {
		if c := f.recent[i]; c.list == r.list && c.addr == addr {
			return c.added
		}
	}
	for _, client := range f.host.recent[r.list] {
		if r.masked(client) == addr {
			return true
		}
	}
	return false
}

// noteRecent appends to a slice that other branches may share.
func (f *flow) noteRecent(c recentChange) {
	f.recent = append(f.recent[:len(f.recent):len(f.recent)], c)
}
