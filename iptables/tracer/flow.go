package tracer

import "net/netip"

// A flow is a packet on its way, on one branch of the random choices: a value,
// copied where the way forks.
type flow struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	proto            uint8
	mark             uint32
	state            CTState
	in, out          string
	host             *host

	origSrc netip.Addr
	origDst netip.AddrPort

	dnat       netip.AddrPort // what a DNAT rule chose
	snat       netip.AddrPort // what an SNAT rule chose
	masquerade bool
	dstChanged bool // the connection's IPS_DST_NAT: not set by a DNAT to the same place
	srcChanged bool // IPS_SRC_NAT
	recent     []recentChange
	virtual    bool // IPVS has sent it on

	hook  hookSet
	chain *chain // nil before the first rule of the hook
	rule  int    // the next one of chain
	stack *frame

	probability float64
	walked      int
	trail       *trail
}

// A frame is where a chain returns to. Frames are shared between branches.
type frame struct {
	chain *chain
	rule  int
	above *frame
}

func (t *Tracer) newFlow(p Packet) (flow, error) {
	if err := p.check(); err != nil {
		return flow{}, err
	}
	p.Src, p.Dst = p.Src.Unmap(), p.Dst.Unmap()
	proto, err := parseProtocol(p.Protocol)
	if err != nil {
		return flow{}, err
	}
	if err := t.checkFamily(p); err != nil {
		return flow{}, err
	}
	if !hasPorts(proto) {
		p.SrcPort, p.DstPort = 0, 0
	}
	f := flow{
		src: p.Src, dst: p.Dst, srcPort: p.SrcPort, dstPort: p.DstPort, proto: proto,
		mark: p.Mark, state: p.State, in: p.InInterface, out: p.OutInterface, host: t.host,
		origSrc: p.Src, origDst: netip.AddrPortFrom(p.Dst, p.DstPort),
		probability: 1,
	}
	f.hook = f.firstHook()
	return f, nil
}

func (t *Tracer) checkFamily(p Packet) error {
	want := t.family
	if want == 0 {
		return nil // rules without any address serve both
	}
	return want.add(p.Dst)
}

func (f *flow) fromHost() bool { return f.in == "" }

// inDevice is what -i sees at this hook. For what comes in that is the same
// device up to POSTROUTING (Linux 5.7 and later); for what the host sends there
// is none before it comes back over lo.
func (f *flow) inDevice() string {
	if f.virtual && !f.fromHost() && f.hook&(filterOutput|natPostrouting) != 0 {
		return "" // IPVS sends it anew
	}
	if f.fromHost() && f.hook == filterInput {
		return "lo"
	}
	return f.in
}

// outDevice is what -o sees at this hook: none where packets come in.
func (f *flow) outDevice() string {
	switch {
	case f.hook&(natPrerouting|natInput|filterInput) != 0:
		return ""
	case f.host.isLocal(f.dst):
		return "lo"
	}
	return f.out
}

// tracked reports whether the packet belongs to a connection.
func (f *flow) tracked() bool { return f.state != StateInvalid && f.state != StateUntracked }

// ctState is the packet's bits of --ctstate.
func (f *flow) ctState() uint {
	bits := uint(1) << f.state
	if f.srcChanged {
		bits |= ctSNAT
	}
	if f.dstChanged {
		bits |= ctDNAT
	}
	return bits
}

// walksNAT reports whether the kernel shows the packet to the nat table: only
// the first of a connection, and of the related ones not the ICMP errors.
func (f *flow) walksNAT() bool {
	switch f.state {
	case StateNew:
		return true
	case StateRelated:
		return f.proto != protoICMP && f.proto != protoICMPv6
	}
	return false
}

// redirect gives the packet another destination.
func (f *flow) redirect(t target) {
	addr, port := t.addr, t.port
	if !addr.IsValid() {
		addr = f.dst
	}
	if port == 0 {
		port = f.dstPort
	}
	f.dnat = netip.AddrPortFrom(addr, port)
	f.dstChanged = addr != f.dst || port != f.dstPort
	f.dst, f.dstPort = addr, port
}

// rewriteSource notes another source. The packet keeps showing the old one, as for
// MASQUERADE, whose address is not known.
func (f *flow) rewriteSource(t target) {
	addr, port := t.addr, t.port
	if !addr.IsValid() {
		addr = f.src
	}
	f.snat = netip.AddrPortFrom(addr, port)
	f.srcChanged = addr != f.src || port != 0 && port != f.srcPort
}
