package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// virtualLeftovers removes what IPVS mode, ours or kube-proxy's, has left of
// one family: virtual servers, then addresses, by which these are known to be
// ours, then sets. It follows the rules, so that another mode serves before,
// and is done when all is gone but the sets that others use. Virtual servers with connections, and their
// addresses, stay until those have ended or drain is over.
type virtualLeftovers struct {
	host   *host
	family proxier.Family
	// rules are where a rule of somebody else may refer to a set.
	rules tablesOf
	// drain bounds the wait for connections; 0 to end them.
	drain time.Duration
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

func newVirtualLeftovers(h *host, family proxier.Family, rules tablesOf, drain time.Duration) *virtualLeftovers {
	return &virtualLeftovers{host: h, family: family, rules: rules, drain: drain, wake: make(chan struct{}, 1)}
}

// Name is "ipvs leftovers".
func (*virtualLeftovers) Name() string { return "ipvs leftovers" }

// Wake receives when it is time to see whether connections have ended.
func (l *virtualLeftovers) Wake() <-chan struct{} { return l.wake }

// Forget makes the next Plan look at the kernel, unless all was gone.
func (l *virtualLeftovers) Forget() {
	for _, part := range l.parts {
		part.Forget()
	}
}

// Plan looks what is left.
func (l *virtualLeftovers) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	p := &removal{leftovers: l}
	if l.clean {
		return p, nil
	}
	if l.parts == nil {
		var err error
		if l.parts, err = l.newParts(ctx); err != nil {
			return nil, err
		}
	}
	// The other family removes things, too: whichever is last takes the device.
	l.Forget()
	now, err := l.host.addresses.List(ctx)
	if err != nil {
		return nil, err
	}
	l.source = ownAddress(state, now, l.family)
	nothing := &proxier.State{Family: l.family}
	for _, part := range l.parts {
		plan, err := part.Plan(ctx, nothing)
		if err != nil {
			return nil, err
		}
		if servers, ok := plan.(ipvs.Plan); ok {
			l.host.left.set(l.family, servers.Left())
			p.draining = len(servers.Left()) > 0
		}
		p.plans = append(p.plans, plan)
	}
	p.draining = p.draining || l.drain > 0 && len(now.RetiredOf(l.family)) > 0
	l.clean = p.Empty() && !p.draining
	return p, nil
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
func (l *virtualLeftovers) retirement() device.Retirement {
	if l.started.IsZero() {
		l.started = time.Now()
	}
	return device.Retirement{
		Keep: l.host.left.all(), Retire: l.drain > 0, Source: l.source,
		Release: time.Since(l.started) >= ipvs.DefaultLook,
	}
}

// leftAddresses are those at which virtual servers are left, in a mode that needs
// none. Both families go by them: the device is the same.
type leftAddresses struct {
	mu       sync.Mutex
	byFamily map[proxier.Family][]netip.Addr
}

// set notes those of a family.
func (l *leftAddresses) set(family proxier.Family, servers []*ipvs.VirtualServer) {
	var addrs []netip.Addr
	for _, v := range servers {
		addrs = append(addrs, v.Addr.Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byFamily == nil {
		l.byFamily = map[proxier.Family][]netip.Addr{}
	}
	l.byFamily[family] = slices.Compact(addrs) // servers are sorted by address
}

// all are those of both families.
func (l *leftAddresses) all() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.byFamily[proxier.IPv4], l.byFamily[proxier.IPv6])
}

// newParts are the dataplanes of what may be there. Modules that are not in use
// are not loaded by asking. Where the device is not there, no IPVS mode was, and
// a virtual server at a node port is somebody else's; and the device is the last
// but the sets to go.
func (l *virtualLeftovers) newParts(ctx context.Context) ([]proxier.Dataplane, error) {
	var parts []proxier.Dataplane
	now, err := l.host.addresses.List(ctx)
	if err != nil {
		return nil, err
	}
	wasHere := now.Type != "" || len(now.Retired) > 0 || l.host.config.IPVS.RemoveForeign
	if wasHere && exists("/proc/thread-self/net/ip_vs") {
		kernel, err := l.host.open(l.family)
		if err != nil {
			return nil, err
		}
		ownership := l.host.ownership()
		parts = append(parts, ipvs.NewDataplane(kernel, ipvs.Config{
			Ownership: ownership, Addresses: l.host.familyAddresses(l.family), DrainTimeout: l.drain, Retire: true,
		}))
	}
	parts = append(parts, device.NewRemoval(l.host.addresses, l.family, l.retirement))
	if exists("/sys/module/ip_set") {
		l.sets = ipset.NewLeftovers(ipset.Netlink{}, l.family, nil, l.rules)
		parts = append(parts, l.sets)
	}
	return parts, nil
}

// tablesOf are the tables of both variants of iptables, to read.
type tablesOf []*iptables.Tool

// Save returns a table of each that has it and can show it, one after the other.
func (t tablesOf) Save(ctx context.Context, table string) (string, error) {
	var b strings.Builder
	var unread []error
	for _, tool := range t {
		if !tool.MayHold(table) {
			continue
		}
		text, err := tool.Save(ctx, table)
		if err != nil {
			unread = append(unread, err)
		}
		b.WriteString(text)
	}
	return b.String(), errors.Join(unread...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// A removal is several plans, one after the other.
type removal struct {
	leftovers *virtualLeftovers
	plans     []proxier.Plan
	// draining is whether something stays for its connections.
	draining bool
}

// Empty reports whether nothing can be removed now.
func (r *removal) Empty() bool {
	return !slices.ContainsFunc(r.plans, func(p proxier.Plan) bool { return !p.Empty() })
}

// String is what each sends.
func (r *removal) String() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.String())
	}
	return b.String()
}

// Diff is that of each.
func (r *removal) Diff() string {
	var b strings.Builder
	for _, p := range r.plans {
		b.WriteString(p.Diff())
	}
	return b.String()
}

// Summary is the sum.
func (r *removal) Summary() proxier.Summary {
	s := proxier.Summary{More: !r.Empty()} // to look whether all is gone
	for _, p := range r.plans {
		one := p.Summary()
		s.Chains += one.Chains
		s.Rules += one.Rules
		s.Deleted += one.Deleted
		s.Bytes += one.Bytes
	}
	return s
}

// Findings are the real servers and the sets that stay: those for their connections,
// these because others use them. Leftovers are nobody's interference.
func (r *removal) Findings() proxier.Findings {
	all := proxier.Findings{Drift: proxier.DriftNone, Drains: &proxier.Drains{}}
	for _, p := range r.plans {
		if drains := p.Findings().Drains; drains != nil {
			all.Drains = drains
		}
	}
	if r.leftovers.sets != nil {
		all.Kept = r.leftovers.sets.Kept()
	}
	return all
}

// Apply removes all, up to the first that fails.
func (r *removal) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	for _, p := range r.plans {
		if _, err := p.Apply(ctx); err != nil {
			return nil, err
		}
	}
	if r.draining {
		r.leftovers.lookAgain()
	}
	return nil, nil
}

// lookAgain wakes whoever counts connections, in a while.
func (l *virtualLeftovers) lookAgain() {
	time.AfterFunc(ipvs.DefaultLook, func() {
		select {
		case l.wake <- struct{}{}:
		default: // a wake-up is waiting
		}
	})
}
