package ipvs

import (
	"net/netip"
	"slices"
	"strings"
)

// A VirtualServer is one place the kernel balances, with the real servers it
// balances over. It is immutable once it is part of a list, so that lists can
// share it: equal pointers mean equal servers.
type VirtualServer struct {
	Place
	Settings
	// Servers are sorted by address and port, and there is one of each.
	Servers []RealServer
}

// Settings are how a virtual server chooses.
type Settings struct {
	// Scheduler is the kernel's name of it, such as "rr".
	Scheduler string
	Flags     Flags
	// Timeout is how many seconds a client sticks to its real server after its
	// last connection, where Flags say Persistent; else 0.
	Timeout uint32
	// ClientBits is the length of the prefix that counts as one client where
	// Flags say Persistent: 32 or 128 for single addresses; else 0.
	ClientBits uint8
}

// Flags of a virtual server, as in linux/ip_vs.h.
type Flags uint32

// The flags that can be set from outside of the kernel.
const (
	// Persistent makes a client stick to its real server.
	Persistent Flags = 0x1
	// OnePacket schedules each UDP datagram for itself.
	OnePacket Flags = 0x4
	// Sched1, Sched2 and Sched3 mean what the scheduler makes of them. For sh
	// and mh the first is "fallback", the second "port".
	Sched1 Flags = 0x8
	Sched2 Flags = 0x10
	Sched3 Flags = 0x20

	settable = Persistent | OnePacket | Sched1 | Sched2 | Sched3
)

// A RealServer is where a virtual server sends connections.
type RealServer struct {
	Addr netip.AddrPort
	// Weight is the server's share; 0 gives it no new connections.
	Weight     uint16
	Forwarding Forwarding
	// Upper and Lower bound the server's connections; 0 for no bound. Ours have
	// none.
	Upper, Lower uint32
}

// Forwarding is how packets get to a real server; the values are those of
// linux/ip_vs.h.
type Forwarding uint8

// The ways of forwarding. Ours is Masquerade: the destination is rewritten.
const (
	Masquerade  Forwarding = 0
	LocalNode   Forwarding = 1
	Tunnel      Forwarding = 2
	DirectRoute Forwarding = 3
	Bypass      Forwarding = 4
)

// Equal reports whether two virtual servers are the same in all respects.
func (v *VirtualServer) Equal(w *VirtualServer) bool {
	return v == w || v.sameService(w) && slices.Equal(v.Servers, w.Servers)
}

// sameService reports whether they are the same but for their real servers.
func (v *VirtualServer) sameService(w *VirtualServer) bool {
	return v.Place == w.Place && v.Settings == w.Settings
}

// find is the index of a real server, or where it belongs.
func (v *VirtualServer) find(addr netip.AddrPort) (int, bool) {
	return slices.BinarySearchFunc(v.Servers, addr, func(r RealServer, addr netip.AddrPort) int { return r.Addr.Compare(addr) })
}

// Find is the virtual server of a sorted list that is at the place, or nil.
func Find(list []*VirtualServer, place Place) *VirtualServer {
	i, found := slices.BinarySearchFunc(list, place, comparePlace)
	if !found {
		return nil
	}
	return list[i]
}

func comparePlace(v *VirtualServer, place Place) int { return v.Compare(place) }

// Text is a list in the notation of ipvsadm -S -n, each virtual server followed
// by its real servers.
func Text(list []*VirtualServer) string {
	var b strings.Builder
	for _, v := range list {
		v.print(&b)
	}
	return b.String()
}
