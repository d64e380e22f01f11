package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// What looking for drift costs, each by itself: of both families together less than a
// fiftieth of the time. A virtual server that is gone cuts off a Service, and one
// real server of several does not.
const (
	pollShare     = 200
	pollShareSlow = 500
)

// virtualDataplanes are those of IPVS mode. The rules come before the virtual
// servers they mark traffic for, and last where rules of iptables mode serve
// until then; see docs/ipvs.md.
func (h *host) virtualDataplanes(tool *iptables.Tool, rules *iptables.Dataplane) ([]proxier.Dataplane, error) {
	kernel, err := h.open(tool.Family)
	if err != nil {
		return nil, err
	}
	v := &virtual{host: h, family: tool.Family}
	order := &rulesOrder{Dataplane: rules, observe: tool.Observe}
	moved := make(chan struct{}, 1)
	h.moved = append(h.moved, moved)
	bound := make(chan struct{}, 1)
	h.bound = append(h.bound, bound)
	sets := ipset.NewSets(ipset.Netlink{}, tool.Family, v.sets, tool)
	servers := ipvs.NewDataplane(kernel, ipvs.Config{
		Options:      h.options(),
		Ownership:    h.ownership(),
		Addresses:    h.familyAddresses(tool.Family),
		DrainTimeout: h.config.IPVS.DrainTimeout,
	})
	h.servers[tool.Family] = servers
	addresses := device.New(h.addresses, tool.Family, v.addresses)
	h.polls[tool.Family] = []proxier.Sentry{
		&proxier.Poll{Name: sets.Name(), Glance: sets.Glance, Forget: sets.Forget, Share: pollShare, CPUTime: cpuTime},
		&proxier.Poll{Name: servers.Name(), Glance: servers.GlanceServices, Forget: servers.Forget, Share: pollShare, CPUTime: cpuTime},
		&proxier.Poll{Name: servers.Name(), Glance: servers.Glance, Forget: servers.Forget, Share: pollShareSlow, CPUTime: cpuTime},
		&proxier.Poll{Name: addresses.Name(), Glance: addresses.Glance, Forget: addresses.Forget, Share: pollShareSlow, CPUTime: cpuTime, Nudge: bound},
	}
	return []proxier.Dataplane{
		sets,
		&rulesTurn{rulesOrder: order},
		servers,
		boundAddresses{addresses, moved},
		&rulesTurn{rulesOrder: order, last: true},
		ipset.NewLeftovers(ipset.Netlink{}, tool.Family, v.sets, tablesOf{tool}),
	}, nil
}

// options shape virtual servers, but for the node's addresses.
func (h *host) options() ipvs.Options {
	o := ipvs.Options{Scheduler: h.config.IPVS.Scheduler}
	if h.schedulers != nil {
		o.Available = map[string]bool{}
		for _, s := range h.schedulers {
			o.Available[s] = true
		}
	}
	return o
}

func (h *host) ownership() ipvs.Ownership {
	c := h.config.IPVS
	return ipvs.Ownership{NodePorts: ipvs.PortRange(c.NodePorts), RemoveForeign: c.RemoveForeign, Exclude: c.ExcludeCIDRs}
}

// familyAddresses tells the host's addresses of a family.
func (h *host) familyAddresses(family proxier.Family) func(context.Context) (ipvs.Addresses, error) {
	return func(ctx context.Context) (ipvs.Addresses, error) {
		now, err := h.addresses.List(ctx)
		return ipvs.Addresses{
			Bound: slices.Concat(now.BoundOf(family), now.RetiredOf(family)), Node: now.NodeAddresses(family),
		}, err
	}
}

// setTimeouts sets those of IPVS mode, once for each configuration: nobody else does.
func (h *host) setTimeouts(tools []*iptables.Tool) error {
	if h.config.Mode != config.ModeIPVS {
		return nil
	}
	c := h.config.IPVS
	for _, tool := range tools {
		kernel, err := h.open(tool.Family)
		if err != nil {
			return err
		}
		if _, err := kernel.SetTimeouts(ipvs.Timeouts{TCP: c.TCPTimeout, TCPFin: c.TCPFinTimeout, UDP: c.UDPTimeout}); err != nil {
			return fmt.Errorf("ipvs.tcpTimeout, tcpFinTimeout, udpTimeout: %w", err)
		}
	}
	return nil
}

// boundAddresses is the dataplane of addresses, which is woken when others come
// or go.
type boundAddresses struct {
	*device.Dataplane

	moved <-chan struct{}
}

// Wake receives when an address of this host came or went.
func (b boundAddresses) Wake() <-chan struct{} { return b.moved }

// virtual compiles a State once for the dataplanes of one family that share the
// result.
type virtual struct {
	host   *host
	family proxier.Family

	state    *proxier.State
	node     []netip.Addr
	compiled *ipvs.Compiled
}

func (v *virtual) compile(ctx context.Context, state *proxier.State) (*ipvs.Compiled, error) {
	now, err := v.host.addresses.List(ctx)
	if err != nil {
		return nil, err
	}
	options := v.host.options()
	options.NodeAddresses = now.NodeAddresses(v.family)
	if v.state != state || !slices.Equal(v.node, options.NodeAddresses) {
		v.compiled = ipvs.Compile(v.compiled, state, options)
		v.state, v.node = state, options.NodeAddresses
	}
	return v.compiled, nil
}

func (v *virtual) sets(ctx context.Context, state *proxier.State) ([]ipset.Set, error) {
	c, err := v.compile(ctx, state)
	if err != nil {
		return nil, err
	}
	return c.Sets, nil
}

func (v *virtual) addresses(ctx context.Context, state *proxier.State) ([]device.Address, error) {
	c, err := v.compile(ctx, state)
	if err != nil {
		return nil, err
	}
	out := make([]device.Address, len(c.Addresses))
	for i, a := range c.Addresses {
		out[i] = device.Address(a)
	}
	return out, nil
}
