// Package mode puts the dataplanes of IPVS mode together, in the order in which each
// relies on those before (docs/ipvs.md), and has the one that removes what they leave
// when the mode ends.
package mode

import (
	"context"
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Kernels are what the dataplanes of one family read and write, beside that of the
// rules.
type Kernels struct {
	Sets ipset.Kernel
	// Rules are changed where they keep a set from being made anew; Tables are read
	// for who uses what is left.
	Rules   iptables.Kernel
	Tables  ipset.Tables
	Servers ipvs.Kernel
	Devices *device.Cached
	// Observe tells which rules are there before the first pass.
	Observe func(ctx context.Context) (iptables.Observation, error)
}

// Config is how they work.
type Config struct {
	Family proxier.Family
	// Rules are those that look into the sets of SetNames.
	Rules *iptables.Dataplane
	// Servers are of virtual servers; their Addresses are those of the Devices.
	Servers ipvs.Config
	// Moved receives when an address of this host came or went.
	Moved <-chan struct{}
}

// Dataplanes are those of one family.
type Dataplanes struct {
	Sets      *ipset.Sets
	Servers   *ipvs.Dataplane
	Addresses *device.Dataplane

	rules     *rulesOrder
	leftovers *ipset.Leftovers
	moved     <-chan struct{}
}

// New returns dataplanes that have not looked at the kernel yet.
func New(k Kernels, c Config) *Dataplanes {
	compiled := &compiler{devices: k.Devices, options: c.Servers.Options, family: c.Family}
	c.Servers.Addresses = AddressesOn(k.Devices, c.Family)
	return &Dataplanes{
		Sets:      ipset.NewSets(k.Sets, c.Family, compiled.sets, k.Rules),
		Servers:   ipvs.NewDataplane(k.Servers, c.Servers),
		Addresses: device.New(k.Devices, c.Family, compiled.addresses),
		rules:     &rulesOrder{Dataplane: c.Rules, observe: k.Observe},
		leftovers: ipset.NewLeftovers(k.Sets, c.Family, compiled.sets, k.Tables),
		moved:     c.Moved,
	}
}

// InOrder are all of them, in the order in which they are synced. The rules come
// before the virtual servers they mark traffic for, and last where rules of iptables
// mode serve until then.
func (d *Dataplanes) InOrder() []proxier.Dataplane {
	return []proxier.Dataplane{
		d.Sets,
		&rulesTurn{rulesOrder: d.rules},
		d.Servers,
		boundAddresses{d.Addresses, d.moved},
		&rulesTurn{rulesOrder: d.rules, last: true},
		d.Sets.Rest(),
		d.leftovers,
	}
}

// SetNames are the sets that the rules of a family look into.
func SetNames(family proxier.Family) iptables.Virtual {
	name := func(set string) string { return ipset.Name(family, set) }
	return iptables.Virtual{
		ClusterIPs: name(ipset.ClusterIPs), ExternalIPs: name(ipset.ExternalIPs), ExternalIPsLocal: name(ipset.ExternalIPsLocal),
		NodePortsTCP: name(ipset.NodePortsTCP), NodePortsUDP: name(ipset.NodePortsUDP), NodePortsSCTP: name(ipset.NodePortsSCTP),
		Bound: name(ipset.Bound),
	}
}

// AddressesOn tells a host's addresses of one family, for virtual servers.
func AddressesOn(devices *device.Cached, family proxier.Family) func(context.Context) (ipvs.Addresses, error) {
	return func(ctx context.Context) (ipvs.Addresses, error) {
		host, err := devices.List(ctx)
		return ipvs.Addresses{
			Bound: slices.Concat(host.BoundOf(family), host.RetiredOf(family)), Node: host.NodeAddresses(family),
		}, err
	}
}

// boundAddresses is the dataplane of addresses, which is woken when others come
// or go.
type boundAddresses struct {
	*device.Dataplane

	moved <-chan struct{}
}

// Wake receives when an address of this host came or went.
func (b boundAddresses) Wake() <-chan struct{} { return b.moved }

// compiler compiles a State once for the dataplanes of one family that share the
// result.
type compiler struct {
	devices *device.Cached
	options ipvs.Options
	family  proxier.Family

	state    *proxier.State
	node     []netip.Addr
	compiled *ipvs.Compiled
}

func (c *compiler) compile(ctx context.Context, state *proxier.State) (*ipvs.Compiled, error) {
	host, err := c.devices.List(ctx)
	if err != nil {
		return nil, err
	}
	options := c.options
	options.NodeAddresses = host.NodeAddresses(c.family)
	if c.state != state || !slices.Equal(c.node, options.NodeAddresses) {
		c.compiled = ipvs.Compile(c.compiled, state, options)
		c.state, c.node = state, options.NodeAddresses
	}
	return c.compiled, nil
}

func (c *compiler) sets(ctx context.Context, state *proxier.State) ([]ipset.Set, error) {
	compiled, err := c.compile(ctx, state)
	if err != nil {
		return nil, err
	}
	return compiled.Sets, nil
}

func (c *compiler) addresses(ctx context.Context, state *proxier.State) ([]device.Address, error) {
	compiled, err := c.compile(ctx, state)
	if err != nil {
		return nil, err
	}
	out := make([]device.Address, len(compiled.Addresses))
	for i, a := range compiled.Addresses {
		out[i] = device.Address(a)
	}
	return out, nil
}
