package kerneltest

import (
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// cast is a scenario's packets that can be sent, and where their addresses are.
type cast struct {
	*scenarios.Scenario
	cases   []packets.Case
	skipped map[string]int // how many cases cannot be sent, by reason
	places  places
	nodeIPs []netip.Addr // node1's own: those of its Node, and all it sends from
}

func newCast(s *scenarios.Scenario) (*cast, error) {
	c := &cast{Scenario: s, skipped: map[string]int{}, places: places{}, nodeIPs: s.Addresses()}
	for _, family := range proxier.Families {
		cases, err := s.Cases(family)
		if err != nil {
			return nil, err
		}
		c.addNodeIPs(cases)
		for _, packet := range cases {
			reason := c.unsendable(packet)
			if reason == "" && !c.place(packet) {
				reason = "the sender's address is in two places"
			}
			if reason != "" {
				c.skipped[reason]++
				continue
			}
			c.cases = append(c.cases, packet)
		}
	}
	return c, nil
}

// unsendable says why a packet cannot be sent on a stage; "" if it can.
func (c *cast) unsendable(p packets.Case) string {
	packet := p.Packet
	switch {
	case packet.Protocol == "sctp":
		return "SCTP: sockets for it are not in every kernel"
	case packet.Protocol != "tcp" && packet.Protocol != "udp":
		return "ICMP: no server answers with what it saw"
	case packet.State != tracer.StateNew:
		return "not the first packet of a connection"
	case p.From != packets.Node && (packet.Dst.IsLoopback() || packet.Src.IsLoopback()):
		return "a loopback address on the wire"
	case p.From == packets.Client && packet.InInterface != "eth0":
		return "a client behind another device than eth0"
	case packet.Dst.IsMulticast() || packet.Dst.IsUnspecified() || packet.Dst == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "not a unicast destination"
	case packet.Dst.IsLinkLocalUnicast() || packet.Src.IsLinkLocalUnicast():
		return "a link-local address"
	case p.From != packets.Node && c.own(packet.Src):
		return "node1's address from elsewhere"
	}
	return ""
}

// addNodeIPs adds those that node1 sends from: a load balancer's address, which
// its software has put there.
func (c *cast) addNodeIPs(cases []packets.Case) {
	for _, p := range cases {
		if p.From == packets.Node && !c.own(p.Packet.Src) {
			c.nodeIPs = append(c.nodeIPs, p.Packet.Src)
		}
	}
}

// own reports whether an address is node1's.
func (c *cast) own(addr netip.Addr) bool {
	return addr.IsLoopback() || slices.Contains(c.nodeIPs, addr)
}

// place finds a place for everybody a packet can meet.
func (c *cast) place(p packets.Case) bool {
	if p.From != packets.Node && !c.places.add(p.Packet.Src, placeOfSender(p)) {
		return false
	}
	for _, server := range serversOf(p) {
		if !c.own(server.Addr()) {
			c.places.add(server.Addr(), placeOfServer(server.Addr()))
		}
	}
	return true
}

var (
	node2Addrs = []netip.Addr{netip.MustParseAddr("172.18.0.12"), netip.MustParseAddr("fd00:172:18::12")}
	node1Pods  = []netip.Prefix{netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("fd00:10:244:1::/64")}
)

func placeOfSender(p packets.Case) place {
	switch {
	case slices.Contains(node2Addrs, p.Packet.Src):
		return onNode2
	case p.From == packets.Client:
		return outside
	case p.Packet.InInterface == "eth0":
		return podThere
	}
	return podHere
}

func placeOfServer(addr netip.Addr) place {
	if slices.Contains(node2Addrs, addr) {
		return onNode2
	}
	for _, pods := range node1Pods {
		if pods.Contains(addr) {
			return answersHere
		}
	}
	return answersThere
}

// serversOf are all who could answer: the endpoints; and if the packet must not
// be translated, whoever has its destination, even if it must not get there.
func serversOf(p packets.Case) []netip.AddrPort {
	if len(p.Want.Endpoints) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(p.Packet.Dst, p.Packet.DstPort)}
	}
	var servers []netip.AddrPort
	for _, e := range p.Want.Endpoints {
		servers = append(servers, e.AddrPort)
	}
	return servers
}

// remembers reports whether some packets depend on those before.
func (c *cast) remembers() bool {
	return slices.ContainsFunc(c.cases, func(p packets.Case) bool { return p.Want.Recent })
}

// targets are the destinations of the outside client.
func (c *cast) targets() []netip.Addr {
	var addrs []netip.Addr
	for _, p := range c.cases {
		if p.From == packets.Client {
			addrs = append(addrs, p.Packet.Dst)
		}
	}
	return addrs
}
