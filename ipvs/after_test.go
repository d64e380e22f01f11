package ipvs

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A Poll may be reading the list that is remembered.
func TestAdoptLeavesTheListAlone(t *testing.T) {
	server := func(port uint16) *VirtualServer {
		return &VirtualServer{Place: Place{Protocol: corev1.ProtocolTCP, Addr: netip.AddrPortFrom(netip.MustParseAddr("10.96.0.1"), port)}}
	}
	one, two := server(1), server(2)
	have, want := []*VirtualServer{one, two}, []*VirtualServer{server(1), two}
	adopted := adopt(have, want)
	if have[0] != one || have[1] != two {
		t.Error("the list that was given is changed")
	}
	if adopted[0] != want[0] || adopted[1] != two {
		t.Error("what is wanted is not adopted")
	}
}
