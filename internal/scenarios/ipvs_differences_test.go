package scenarios

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
)

// A difference is a kind of packets that fares differently in IPVS mode.
type difference struct {
	why string
	is  func(v *IPVS, c packets.Case) bool
	// want replaces what the table says; with nil nothing is said.
	want *packets.Want
}

// differences are all there are.
var differences = []difference{
	{
		// IPVS does not translate the source of what loopback addresses send, and
		// the kernel lets no such packet out.
		"node ports are not at loopback addresses",
		func(_ *IPVS, c packets.Case) bool {
			return c.Packet.Dst.IsLoopback() && c.Packet.Src.IsLoopback()
		},
		&packets.Want{},
	},
	{
		// IPVS works without conntrack's help, and conntrack does not know all of
		// its connections in full.
		"packets that conntrack cannot place are not dropped",
		func(_ *IPVS, c packets.Case) bool {
			return c.Packet.State == tracer.StateInvalid && c.Want.Verdict == tracer.Drop
		},
		&packets.Want{},
	},
	{
		// The address is the node's, by kube-ipvs0; without a rule the node itself
		// would answer.
		"what no Service port is for is refused at Service addresses",
		func(v *IPVS, c packets.Case) bool {
			untouched := c.Want.Verdict == tracer.Accept && len(c.Want.Endpoints) == 0 && !c.Want.Masquerade
			place := ipvs.Place{Protocol: protocolOf(c.Packet), Addr: netip.AddrPortFrom(c.Packet.Dst, c.Packet.DstPort)}
			return untouched && c.Packet.State == tracer.StateNew && v.bound(c.Packet.Dst) && v.Compiled.Frontend(place) == nil
		},
		&packets.Want{Verdict: tracer.Reject},
	},
	{
		// The node takes the address for its own, and sends nothing there: such a
		// packet gets to whatever on the node itself has the port, or is refused.
		"an endpoint at a Service's own address cannot be reached",
		func(v *IPVS, c packets.Case) bool {
			return slices.ContainsFunc(c.Want.Endpoints, func(e packets.Endpoint) bool { return v.bound(e.Addr()) })
		},
		nil,
	},
}

// virtualCase is a case as it has to come out in IPVS mode, and why where that is
// different; ok is false for one that nothing is said of.
func virtualCase(v *IPVS, c packets.Case) (_ packets.Case, why string, ok bool) {
	for _, d := range differences {
		switch {
		case !d.is(v, c):
		case d.want == nil:
			return c, d.why, false
		default:
			c.Want = *d.want
			return c, "in IPVS mode " + d.why + ": ", true
		}
	}
	return c, "", true
}

// bound reports whether the address ends up on kube-ipvs0.
func (v *IPVS) bound(addr netip.Addr) bool {
	for _, set := range v.Compiled.Sets {
		if set.Name == mode.SetNames(v.State.Family).Bound {
			return slices.ContainsFunc(set.Entries, func(e ipset.Entry) bool { return e.Addr == addr })
		}
	}
	return false
}

func protocolOf(p tracer.Packet) corev1.Protocol {
	return corev1.Protocol(strings.ToUpper(p.Protocol))
}
