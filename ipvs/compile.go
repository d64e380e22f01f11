package ipvs

import (
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// DefaultScheduler is what a node uses that was told nothing else.
const DefaultScheduler = "rr"

// Options are what shapes the virtual servers beside the State.
type Options struct {
	// Scheduler is for Services that ask for none; empty for DefaultScheduler.
	Scheduler string
	// Available are the schedulers this node's kernel has; nil if that is not
	// known, and every known one is taken for available.
	Available map[string]bool
	// NodeAddresses are the node's own: those of all interfaces but kube-ipvs0,
	// without loopback and link-local ones. Those of the other family do not
	// matter. Virtual servers for node ports are at those of them that
	// State.NodePortAddresses allow.
	NodeAddresses []netip.Addr
}

func (o Options) equal(p Options) bool {
	return o.Scheduler == p.Scheduler && (o.Available == nil) == (p.Available == nil) &&
		maps.Equal(o.Available, p.Available) && slices.Equal(o.NodeAddresses, p.NodeAddresses)
}

// Compiled is what the kernel should hold for a State in this mode, beside the
// rules, with what the next Compile can take over from it.
type Compiled struct {
	// Servers are the virtual servers, sorted by place. Frontends that nobody
	// answers for have none.
	Servers []*VirtualServer
	// Addresses are those that attract the traffic, sorted. The node's own may
	// be among them: they must not be taken from where they are.
	Addresses []Address
	// Sets are the sets that the rules of this mode look into, in a fixed order,
	// all of them, also those that are empty.
	Sets []ipset.Set
	// Problems are annotations that this node cannot follow, and addresses that are
	// another node's, each in the order of the Services.
	Problems []proxier.Problem

	state   *proxier.State
	options Options
	// frontends are the State's, with what was made of them.
	frontends []compiledFrontend
	// nodePorts are the same for each node port address, in its order.
	nodePorts map[netip.Addr][]compiledFrontend
	nodeAddrs []netip.Addr
}

// An Address is one that clients send to.
type Address struct {
	Addr netip.Addr
	// Frontends are those with this address.
	Frontends []*proxier.Frontend
}

// Services are the names of the Services that have the address, sorted, each
// once.
func (a Address) Services() []types.NamespacedName {
	var names []types.NamespacedName
	for _, f := range a.Frontends {
		names = append(names, f.Target.Name.NamespacedName)
	}
	slices.SortFunc(names, proxier.CompareNames)
	return slices.Compact(names)
}

// A compiledFrontend is a frontend at one address; server is nil where nobody
// answers.
type compiledFrontend struct {
	frontend *proxier.Frontend
	server   *VirtualServer
}

// Compile translates a State into virtual servers, addresses and sets. It is
// pure: the same State and options give the same result. prev may be nil; it
// only saves work, by sharing what did not change.
func Compile(prev *Compiled, state *proxier.State, options Options) *Compiled {
	if prev == nil || prev.state.Family != state.Family || !prev.options.equal(options) {
		prev = &Compiled{}
	}
	c := &Compiled{state: state, options: options, nodePorts: map[netip.Addr][]compiledFrontend{}}
	c.frontends = c.compileFrontends(prev.frontends, state.Frontends, netip.Addr{})
	c.nodeAddrs = nodePortAddresses(state, options.NodeAddresses)
	for _, addr := range c.nodeAddrs {
		c.nodePorts[addr] = c.compileFrontends(prev.nodePorts[addr], state.NodePorts, addr)
	}
	c.Servers = c.mergeServers()
	c.Addresses = addresses(state.Frontends)
	c.Sets = c.compileSets(prev.Sets)
	c.Problems = append(c.schedulerProblems(), c.nodeAddressProblems()...)
	return c
}

// compileFrontends makes a virtual server of each frontend, or takes it from
// old, which is sorted in the same way. addr is the address of node ports.
func (c *Compiled) compileFrontends(old []compiledFrontend, frontends []*proxier.Frontend, addr netip.Addr) []compiledFrontend {
	out := make([]compiledFrontend, 0, len(frontends))
	for _, f := range frontends {
		for len(old) > 0 && old[0].frontend != f && comparePlaces(old[0].frontend, f) < 0 {
			old = old[1:]
		}
		if len(old) > 0 && old[0].frontend == f {
			out = append(out, old[0])
			continue
		}
		out = append(out, compiledFrontend{f, c.server(f, addr)})
	}
	return out
}

func comparePlaces(f, g *proxier.Frontend) int {
	return placeOf(f, f.Addr).Compare(placeOf(g, g.Addr))
}

// placeOf is where a frontend is, at the given address.
func placeOf(f *proxier.Frontend, addr netip.Addr) Place {
	return Place{Protocol: f.Protocol(), Addr: netip.AddrPortFrom(addr, f.Port)}
}

// PoolOf is who answers for a frontend to those clients whose traffic gets to a
// virtual server.
func PoolOf(f *proxier.Frontend) proxier.Pool {
	if f.Kind == proxier.ClusterIP {
		return f.Target.Internal
	}
	return f.Target.External
}

// served reports whether there is a virtual server for the frontend. Rules serve
// what is at another node's address, which must not attract all that is sent there.
func served(f *proxier.Frontend) bool {
	if f.AtNodeAddress() {
		return false
	}
	pool := PoolOf(f)
	return pool.Verdict == proxier.Accept && len(pool.Endpoints) > 0
}

func (c *Compiled) server(f *proxier.Frontend, addr netip.Addr) *VirtualServer {
	if !served(f) {
		return nil
	}
	if f.Kind != proxier.NodePort {
		addr = f.Addr
	}
	pool := PoolOf(f)
	v := &VirtualServer{
		Place:    placeOf(f, addr),
		Settings: c.options.settings(f.Target),
		Servers:  make([]RealServer, len(pool.Endpoints)),
	}
	for i := range pool.Endpoints {
		v.Servers[i] = RealServer{Addr: pool.Endpoints[i].Addr, Weight: pool.Endpoints[i].Weight}
	}
	return v
}

// mergeServers is all virtual servers, sorted. An address of a Service that is
// the node's own comes before a node port with the same number.
func (c *Compiled) mergeServers() []*VirtualServer {
	n := len(c.frontends)
	for _, list := range c.nodePorts {
		n += len(list)
	}
	servers := make([]*VirtualServer, 0, n)
	rest := c.frontends
	for _, addr := range c.nodeAddrs {
		for i := range c.nodePorts[addr] {
			nodePort := &c.nodePorts[addr][i]
			place := placeOf(nodePort.frontend, addr)
			taken := false
			for len(rest) > 0 && !taken {
				order := placeOf(rest[0].frontend, rest[0].frontend.Addr).Compare(place)
				if order > 0 {
					break
				}
				taken = order == 0
				servers = appendServer(servers, rest[0].server)
				rest = rest[1:]
			}
			if !taken {
				servers = appendServer(servers, nodePort.server)
			}
		}
	}
	for _, f := range rest {
		servers = appendServer(servers, f.server)
	}
	return servers
}

func appendServer(servers []*VirtualServer, v *VirtualServer) []*VirtualServer {
	if v == nil {
		return servers
	}
	return append(servers, v)
}

// addresses groups sorted frontends by address, but for those that rules serve.
func addresses(frontends []*proxier.Frontend) []Address {
	if slices.ContainsFunc(frontends, (*proxier.Frontend).AtNodeAddress) {
		frontends = slices.DeleteFunc(slices.Clone(frontends), (*proxier.Frontend).AtNodeAddress)
	}
	out := make([]Address, 0, len(frontends))
	start := 0
	for i, f := range frontends {
		if i+1 == len(frontends) || frontends[i+1].Addr != f.Addr {
			out = append(out, Address{Addr: f.Addr, Frontends: frontends[start : i+1 : i+1]})
			start = i + 1
		}
	}
	return out
}

// Frontend is the frontend that has a place, whether anybody answers there or
// not; nil if none has.
func (c *Compiled) Frontend(place Place) *proxier.Frontend {
	if f := frontendAt(c.frontends, place); f != nil {
		return f
	}
	nodePort := place
	nodePort.Addr = netip.AddrPortFrom(netip.Addr{}, place.Addr.Port())
	return frontendAt(c.nodePorts[place.Addr.Addr()], nodePort)
}

func frontendAt(list []compiledFrontend, place Place) *proxier.Frontend {
	i, found := slices.BinarySearchFunc(list, place, func(f compiledFrontend, place Place) int {
		return placeOf(f.frontend, f.frontend.Addr).Compare(place)
	})
	if !found {
		return nil
	}
	return list[i].frontend
}

// Of are the virtual servers of one Service.
func (c *Compiled) Of(service types.NamespacedName) []*VirtualServer {
	var out []*VirtualServer
	for _, v := range c.Servers {
		if f := c.Frontend(v.Place); f != nil && f.Target.Name.NamespacedName == service {
			out = append(out, v)
		}
	}
	return out
}

// nodePortAddresses are those of the node's addresses where node ports are
// served, sorted.
func nodePortAddresses(state *proxier.State, all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, addr := range all {
		if proxier.FamilyOf(addr) != state.Family || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
			continue
		}
		within := state.NodePortAddresses.Within
		if len(within) == 0 || slices.ContainsFunc(within, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			out = append(out, addr)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
