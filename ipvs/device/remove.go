package device

import (
	"net/netip"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Retirement says how the addresses of a mode that has ended go.
type Retirement struct {
	// Keep are addresses of both families at which there are connections still.
	// As long as there is one the device stays, which virtual servers at the
	// node's own addresses are known to be ours by.
	Keep []netip.Addr
	// Retire has addresses leave the device for a route first. Without it they go
	// at once, with Keep or not.
	Retire bool
	// Release has the routes go, but for those of Keep. It comes a while after
	// Retire: the node has opened connections meanwhile that have the address as
	// their own, and that nobody counts.
	Release bool
	// Source is what the node is to take for its own address instead.
	Source netip.Addr
}

// Remove is the way to be rid of a family's addresses, and of the device if then
// it has none. A device of another type is not ours and stays.
func Remove(family proxier.Family, host Host, r Retirement) Patch {
	var p Patch
	bound, retired := host.BoundOf(family), host.RetiredOf(family)
	if host.Type == linkType {
		already := setOf(retired)
		for _, a := range bound {
			if r.Retire && !already[a] {
				p.Ops = append(p.Ops, Op{Verb: Retire, Addr: a, Source: r.Source})
			}
		}
		if gone := deletions(host, bound); len(r.Keep) == 0 && len(gone) == len(host.Bound) {
			p.Ops = append(p.Ops, Op{Verb: DeleteDevice})
		} else {
			p.Ops = append(p.Ops, gone...)
		}
	}
	keep := setOf(r.Keep)
	for _, a := range retired {
		if !r.Retire || r.Release && !keep[a] {
			p.Ops = append(p.Ops, Op{Verb: Release, Addr: a})
		}
	}
	return p
}

func setOf(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a] = true
	}
	return set
}
