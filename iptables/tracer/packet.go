package tracer

import (
	"fmt"
	"net/netip"
	"strconv"
)

// A Packet is the first packet of a connection (or, with State, a later one)
// as it reaches the host's network stack.
type Packet struct {
	// Src and Dst are of one family, that of the rules.
	Src, Dst netip.Addr
	// Protocol is the transport: "tcp", "udp", "sctp", "icmp", another name of
	// iptables(8), or a number from 0 to 255.
	Protocol string
	// SrcPort and DstPort matter for tcp, udp and sctp only.
	SrcPort, DstPort uint16
	// InInterface is the device the packet arrives on; empty when the host
	// itself sends it.
	InInterface string
	// OutInterface is the device routing chooses when the destination is not
	// the host; empty when unknown, and then equal to no device a rule names.
	OutInterface string
	// State is what connection tracking says; zero means StateNew.
	State CTState
	// Mark is the firewall mark at the first hook.
	Mark uint32
}

// CTState is the state connection tracking gives a packet, as in
// --ctstate of iptables-extensions(8).
type CTState int

// The states of a packet. Only new packets, and related ones that are not
// ICMP, walk the nat table; addresses of the others stand as they are.
const (
	StateNew CTState = iota
	StateEstablished
	StateRelated
	StateInvalid
	StateUntracked
)

var ctStateNames = [...]string{
	StateNew: "NEW", StateEstablished: "ESTABLISHED", StateRelated: "RELATED",
	StateInvalid: "INVALID", StateUntracked: "UNTRACKED",
}

// String is the state's name in iptables(8), such as "NEW".
func (s CTState) String() string {
	if s < 0 || int(s) >= len(ctStateNames) {
		return "CTState(" + strconv.Itoa(int(s)) + ")"
	}
	return ctStateNames[s]
}

// A Host is what the rules ask about besides the packet.
type Host struct {
	// Addresses and LocalPrefixes are the host's own: what addrtype calls
	// LOCAL. 127.0.0.0/8 and ::1 always are.
	Addresses     []netip.Addr
	LocalPrefixes []netip.Prefix
	// RecentClients are the addresses in the lists of xt_recent, by list name;
	// every one counts as seen within whatever time a rule asks for.
	RecentClients map[string][]netip.Addr
	// Sets are the IP sets there are, by name.
	Sets map[string]Set
	// Virtual tells who answers at a place where IPVS has a virtual server;
	// found is false where it has none. nil if there is no IPVS.
	Virtual func(protocol string, at netip.AddrPort) (v VirtualServer, found bool)
}

// A Set is an IP set (ipset(8)).
type Set struct {
	// Type is "hash:ip", "hash:ip,port" or "bitmap:port".
	Type string
	// Entries are as ipset save prints them, such as "10.96.0.10,udp:53".
	Entries map[string]bool
}

// A VirtualServer is what IPVS does with the first packet of a connection.
type VirtualServer struct {
	// Name is one that no list of xt_recent has.
	Name string
	// Servers may each get the packet, those of weight 0 excepted. If there is
	// none, the packet is refused.
	Servers []RealServer
	// Persistent servers remember their clients, as a rule of xt_recent does:
	// under the list RecentList.
	Persistent bool
}

// A RealServer is one that a VirtualServer may choose.
type RealServer struct {
	Addr   netip.AddrPort
	Weight uint16
}

// RecentList is the name under which a client of the real server is remembered,
// in Outcome.Recent and Host.RecentClients.
func (v VirtualServer) RecentList(r RealServer) string { return v.Name + " " + r.Addr.String() }

// Protocol numbers of IANA under the names iptables-save prints.
var protocols = map[string]uint8{
	"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "gre": 47, "esp": 50, "ah": 51,
	"ipv6-icmp": 58, "sctp": 132, "udplite": 136,
}

const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoDCCP   = 33
	protoICMPv6 = 58
	protoSCTP   = 132
)

// parseProtocol reads a protocol's name or number.
func parseProtocol(s string) (uint8, error) {
	if n, ok := protocols[s]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q: want a name such as tcp, or a number from 0 to 255", s)
	}
	return uint8(n), nil
}

// hasPorts reports whether the protocol's header begins with two ports.
func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoSCTP, protoDCCP:
		return true
	}
	return false
}

// check reports what makes the packet impossible.
func (p Packet) check() error {
	switch {
	case !p.Src.IsValid():
		return fmt.Errorf("packet: source address missing")
	case !p.Dst.IsValid():
		return fmt.Errorf("packet: destination address missing")
	case p.Src.Is4() != p.Dst.Is4():
		return fmt.Errorf("packet: source %s and destination %s are of different families", p.Src, p.Dst)
	case p.State < StateNew || p.State > StateUntracked:
		return fmt.Errorf("packet: unknown %s", p.State)
	}
	return nil
}
