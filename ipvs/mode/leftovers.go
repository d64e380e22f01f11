package mode

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Remains are what IPVS mode, ours or kube-proxy's, has left on a host that is in
// another mode now. Their Leftovers are to be used by one goroutine for each family.
type Remains struct {
	Devices *device.Cached
	// Servers opens the virtual servers of a family; nil where the kernel has none.
	// Modules that are not in use are better not loaded by asking.
	Servers func(proxier.Family) (ipvs.Kernel, error)
	// Sets is nil where the kernel has none.
	Sets      ipset.Kernel
	Ownership ipvs.Ownership
	// Drain bounds the wait for connections; 0 to end them.
	Drain time.Duration

	// mu guards addresses, at which virtual servers are left. Both families go by
	// them: the device is the same.
	mu        sync.Mutex
	addresses map[proxier.Family][]netip.Addr
}

// Leftovers is the dataplane that removes what is there of one family: virtual
// servers, then addresses, by which these are known to be ours, then sets. It
// follows the rules, so that the mode of now serves before, and is done when all is
// gone but the sets that others use. Virtual servers with connections, and their
// addresses, stay until those have ended or Drain is over.
type Leftovers struct {
	remains *Remains
	family  proxier.Family
	// tables are where a rule of somebody else may refer to a set.
	tables ipset.Tables
	// wake receives when connections are to be counted again.
	wake chan struct{}

	parts []proxier.Dataplane
	// sets are one of the parts; nil where there cannot be any.
	sets  *ipset.Leftovers
	clean bool
	// started is when the addresses were first looked at; source is what the node
	// takes for its own address instead of one of them.
	started time.Time
	source  netip.Addr
}

// Of returns the dataplane of a family, which has not looked at the kernel yet. In
// tables somebody's rules may keep sets.
func (r *Remains) Of(family proxier.Family, tables ipset.Tables) *Leftovers {
	return &Leftovers{remains: r, family: family, tables: tables, wake: make(chan struct{}, 1)}
}

// Name is "ipvs leftovers".
func (*Leftovers) Name() string { return "ipvs leftovers" }

// Wake receives when it is time to see whether connections have ended.
func (l *Leftovers) Wake() <-chan struct{} { return l.wake }

// Forget makes the next Plan look at the kernel, unless all was gone.
func (l *Leftovers) Forget() {
	l.remains.Devices.Forget()
	for _, part := range l.parts {
		part.Forget()
	}
}

// Plan looks what is left. The State says what the node's address is; it may be nil.
func (l *Leftovers) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	p := &removal{leftovers: l}
	if l.clean {
		return p, nil
	}
	// The other family removes things, too: whichever is last takes the device.
	l.Forget()
	now, err := l.remains.Devices.List(ctx)
	if err != nil {
		return nil, err
	}
	if l.parts == nil {
		if l.parts, err = l.newParts(now); err != nil {
			return nil, err
		}
	}
	l.source = ownAddress(state, now, l.family)
	nothing := &proxier.State{Family: l.family}
	for _, part := range l.parts {
		plan, err := part.Plan(ctx, nothing)
		if err != nil {
			return nil, err
		}
		if servers, ok := plan.(ipvs.Plan); ok {
			l.remains.setAddresses(l.family, servers.Left())
			p.draining = len(servers.Left()) > 0
		}
		p.plans = append(p.plans, plan)
	}
	p.draining = p.draining || l.remains.Drain > 0 && len(now.RetiredOf(l.family)) > 0
	l.clean = p.Empty() && !p.draining
	return p, nil
}

// newParts are the dataplanes of what may be there. Where the device is not there,
// no IPVS mode was, and a virtual server at a node port is somebody else's; and the
// device is the last but the sets to go.
func (l *Leftovers) newParts(now device.Host) ([]proxier.Dataplane, error) {
	r := l.remains
	var parts []proxier.Dataplane
	if now.Type != "" || len(now.Retired) > 0 || r.Ownership.RemoveForeign {
		servers, err := r.Servers(l.family)
		if err != nil {
			return nil, err
		}
		if servers != nil {
			parts = append(parts, ipvs.NewDataplane(servers, ipvs.Config{
				Ownership: r.Ownership, Addresses: AddressesOn(r.Devices, l.family), DrainTimeout: r.Drain, Retire: true,
			}))
		}
	}
	parts = append(parts, device.NewRemoval(r.Devices, l.family, l.retirement))
	if r.Sets != nil {
		l.sets = ipset.NewLeftovers(r.Sets, l.family, nil, l.tables)
		parts = append(parts, l.sets)
	}
	return parts, nil
}

// ownAddress is what the node should take for its own address: that of its Node
// object, where it has that, or any.
func ownAddress(state *proxier.State, now device.Host, family proxier.Family) netip.Addr {
	all := now.NodeAddresses(family)
	if state != nil && slices.Contains(all, state.Node.IP(family)) {
		return state.Node.IP(family)
	}
	if len(all) > 0 {
		return all[0]
	}
	return netip.Addr{}
}

// retirement is how addresses go: for a route first, and that a while later.
func (l *Leftovers) retirement() device.Retirement {
	if l.started.IsZero() {
		l.started = time.Now()
	}
	return device.Retirement{
		Keep: l.remains.allAddresses(), Retire: l.remains.Drain > 0, Source: l.source,
		Release: time.Since(l.started) >= ipvs.DefaultLook,
	}
}

// lookAgain wakes whoever counts connections, in a while.
func (l *Leftovers) lookAgain() {
	time.AfterFunc(ipvs.DefaultLook, func() {
		select {
		case l.wake <- struct{}{}:
		default: // a wake-up is waiting
		}
	})
}

// setAddresses notes where virtual servers of a family are left.
func (r *Remains) setAddresses(family proxier.Family, servers []*ipvs.VirtualServer) {
	var addrs []netip.Addr
	for _, v := range servers {
		addrs = append(addrs, v.Addr.Addr())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.addresses == nil {
		r.addresses = map[proxier.Family][]netip.Addr{}
	}
	r.addresses[family] = slices.Compact(addrs) // servers are sorted by address
}

// allAddresses are those of both families.
func (r *Remains) allAddresses() []netip.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.addresses[proxier.IPv4], r.addresses[proxier.IPv6])
}
