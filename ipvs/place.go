package ipvs

import (
	"cmp"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Place is what a virtual server is found by: protocol, address and port.
type Place struct {
	Protocol corev1.Protocol
	Addr     netip.AddrPort
}

// Compare orders places by address, protocol and port, as proxier orders
// frontends.
func (p Place) Compare(q Place) int {
	return cmp.Or(p.Addr.Addr().Compare(q.Addr.Addr()),
		strings.Compare(string(p.Protocol), string(q.Protocol)), cmp.Compare(p.Addr.Port(), q.Addr.Port()))
}

// String is the place as ipvsadm(8) takes it, such as "-t 10.96.0.1:443".
func (p Place) String() string {
	return protocolFlags[p.Protocol] + " " + p.Addr.String()
}

// Family tells the family of the address.
func (p Place) Family() proxier.Family { return proxier.FamilyOf(p.Addr.Addr()) }

var protocolFlags = map[corev1.Protocol]string{ //nolint:gochecknoglobals // a constant table
	corev1.ProtocolTCP: "-t", corev1.ProtocolUDP: "-u", corev1.ProtocolSCTP: "--sctp-service",
}

// drains tells whether connections of the protocol can end, and be waited for.
// A "connection" of UDP is only a timer that each datagram starts anew.
func (p Place) drains() bool { return p.Protocol != corev1.ProtocolUDP }

// A RealPlace is one real server of one virtual server.
type RealPlace struct {
	Place
	Real netip.AddrPort
}
