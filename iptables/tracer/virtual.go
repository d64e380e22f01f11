package tracer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// meetsIPVS reports whether IPVS sees the packet after the hook: it works at LOCAL_IN
// after filter INPUT, and at LOCAL_OUT between nat OUTPUT and filter OUTPUT (the
// priorities in net/netfilter/ipvs/ip_vs_core.c).
func (f *flow) meetsIPVS() bool {
	if f.fromHost() {
		return f.hook == natOutput
	}
	return f.hook == filterInput
}

// balance is what IPVS does after the hook f stands at: nothing to what it has no
// virtual server for. As many branches as there are real servers go on from here.
//
// Only first packets are scheduled: others belong to connections that the trace
// does not know.
func (w *walk) balance(f *flow) Verdict {
	if f.host.virtual == nil || f.virtual || f.state != StateNew || !f.meetsIPVS() {
		return Accept
	}
	v, found := f.host.virtual(protocolName(f.proto), netip.AddrPortFrom(f.dst, f.dstPort))
	if !found {
		return Accept
	}
	servers := slices.DeleteFunc(slices.Clone(v.Servers), func(r RealServer) bool { return r.Weight == 0 })
	if v.Persistent {
		for _, r := range servers {
			if slices.Contains(f.host.recent[v.RecentList(r)], f.src) {
				servers = []RealServer{r}
				break
			}
		}
	}
	total := 0.0
	for _, r := range servers {
		total += float64(r.Weight)
	}
	if total == 0 {
		return Reject
	}
	way := *f
	for i, r := range servers {
		branch := way
		branch.probability *= float64(r.Weight) / total
		branch.goTo(v, r)
		if i == len(servers)-1 {
			*f = branch
			break
		}
		branch.hook, branch.chain = branch.nextHook(), nil
		w.pending = append(w.pending, branch)
	}
	return Accept
}

// goTo gives the packet the real server as destination. For conntrack that is no
// DNAT: IPVS alters what answers are expected from, and sets no IPS_DST_NAT.
func (f *flow) goTo(v VirtualServer, r RealServer) {
	f.virtual = true
	f.dnat, f.dst, f.dstPort = r.Addr, r.Addr.Addr(), r.Addr.Port()
	if v.Persistent {
		f.noteRecent(recentChange{v.RecentList(r), f.src, true})
	}
}

// protocolName is the protocol as ipset names it.
func protocolName(proto uint8) string {
	for name, number := range protocols {
		if number == proto {
			return name
		}
	}
	return fmt.Sprint(proto)
}

// ipvsModule is [!] --ipvs.
type ipvsModule struct{ read bool }

func (m *ipvsModule) option(p *ruleParser, name string) error {
	if name != "--ipvs" {
		return unknownOption(name)
	}
	m.read = true
	not := p.negated()
	p.when(func(f *flow) bool { return f.virtual != not })
	return nil
}

func (m *ipvsModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--ipvs missing")
	}
	return nil
}

// setModule is [!] --match-set NAME src|dst[,src|dst].
type setModule struct{ read bool }

func (m *setModule) option(p *ruleParser, name string) error {
	if name != "--match-set" {
		return unknownOption(name)
	}
	m.read = true
	not := p.negated()
	setName, err := p.value(name)
	if err != nil {
		return err
	}
	flags, err := p.value(name)
	if err != nil {
		return err
	}
	set, found := p.sets[setName]
	if !found {
		return fmt.Errorf("option %s: the host has no set %s", name, setName)
	}
	key, err := keyOf(set.Type, strings.Split(flags, ","))
	if err != nil {
		return fmt.Errorf("option %s: set %s: %w", name, setName, err)
	}
	p.when(func(f *flow) bool { return set.Entries[key(f)] != not })
	return nil
}

func (m *setModule) finish(*ruleParser) error {
	if !m.read {
		return fmt.Errorf("--match-set missing")
	}
	return nil
}

// keyOf returns what of a packet is looked up in a set of that type.
func keyOf(typ string, flags []string) (func(*flow) string, error) {
	for _, flag := range flags {
		if flag != "src" && flag != "dst" {
			return nil, fmt.Errorf("flag %q: want src or dst", flag)
		}
	}
	addr := func(f *flow) netip.Addr {
		if flags[0] == "src" {
			return f.src
		}
		return f.dst
	}
	port := func(f *flow) uint16 {
		if flags[len(flags)-1] == "src" {
			return f.srcPort
		}
		return f.dstPort
	}
	// The kernel lets a rule have more flags than the set has dimensions; ours
	// have as many.
	switch want := 1 + strings.Count(typ, ","); {
	case len(flags) != want:
		return nil, fmt.Errorf("%d flags for type %s, want %d", len(flags), typ, want)
	case typ == "hash:ip":
		return func(f *flow) string { return addr(f).String() }, nil
	case typ == "bitmap:port":
		return func(f *flow) string {
			if f.proto != protoTCP && f.proto != protoUDP { // net/netfilter/ipset/ip_set_getport.c
				return ""
			}
			return fmt.Sprint(port(f))
		}, nil
	case typ == "hash:ip,port":
		return func(f *flow) string {
			if !hasPorts(f.proto) {
				return ""
			}
			return fmt.Sprintf("%s,%s:%d", addr(f), protocolName(f.proto), port(f))
		}, nil
	}
	return nil, fmt.Errorf("type %s is not known", typ)
}
