package proxier

import (
	"net/netip"
)

// Verdict is what happens to traffic of a frontend.
type Verdict uint8

// The verdicts.
const (
	// Accept: one of the pool's endpoints answers.
	Accept Verdict = iota
	// Drop: there are endpoints, but none this traffic may use. Silence, since
	// another node may be able to answer (KEP-2086, KEP-1669).
	Drop
	// Reject: there is no endpoint at all. The client is told at once.
	Reject
)

// String is "accept", "drop" or "reject".
func (v Verdict) String() string {
	return [...]string{"accept", "drop", "reject"}[v]
}

// Scope tells where a pool's endpoints may be.
type Scope uint8

// The scopes.
const (
	// Cluster: on any node, as far as topology hints allow.
	Cluster Scope = iota
	// Local: on this node only.
	Local
)

// String is "cluster" or "local".
func (s Scope) String() string {
	return [...]string{"cluster", "local"}[s]
}

// A Pool is the answer to one kind of traffic: a verdict and, for Accept, the
// endpoints to choose from, sorted by address and port. All pools of a Target
// with the same Scope have the same endpoints.
type Pool struct {
	Scope     Scope
	Verdict   Verdict
	Endpoints []Endpoint
}

// A Target is a ServicePort with the endpoints that answer for it, decided
// once, for every mode.
type Target struct {
	*ServicePort
	// Internal is for traffic to the ClusterIP.
	Internal Pool
	// External is for traffic from outside to the other frontends.
	External Pool
	// ShortCircuit is for traffic to the other frontends from pods of this
	// node (where they can be told apart) and from the node itself. It ignores
	// the external traffic policy: that traffic has not been balanced by
	// anybody yet, and its source is no outside client.
	ShortCircuit Pool
	// AllowedSources may use the load balancer addresses; nil lets everybody in.
	AllowedSources []netip.Prefix
	// AtNodeAddress is whether one of the external addresses belongs to another
	// node, or may do so, or to this one without being on a device of it: beside
	// the primary address. No dataplane may bind such an address to this node.
	AtNodeAddress bool
	// Endpoints are all that the slices name, whatever their condition.
	Endpoints []Endpoint
}

// newTarget decides who answers for a port.
//
//	any endpoint   policy    endpoints here   internal, external   short circuit
//	no             any       -                reject               reject
//	yes            Cluster   -                cluster              cluster
//	yes            Local     yes              local                cluster
//	yes            Local     no               drop                 cluster
func newTarget(port *ServicePort, all []Endpoint, node Node) *Target {
	nobody := Pool{Verdict: Reject}
	t := &Target{
		ServicePort: port, Endpoints: all, AllowedSources: allowedSources(port, node),
		Internal: nobody, External: nobody, ShortCircuit: nobody,
	}
	if !anyUsable(all) {
		return t
	}
	var cluster, local Pool
	if port.usesClusterEndpoints() {
		cluster = Pool{Scope: Cluster, Endpoints: clusterEndpoints(all, node)}
	}
	if port.usesLocalEndpoints() {
		local = Pool{Scope: Local, Endpoints: localEndpoints(all)}
		if len(local.Endpoints) == 0 {
			local.Verdict = Drop
		}
	}
	pick := func(localOnly bool) Pool {
		if localOnly {
			return local
		}
		return cluster
	}
	t.Internal = pick(port.InternalLocal)
	if port.Exposed() {
		t.External, t.ShortCircuit = pick(port.ExternalLocal), cluster
	}
	return t
}

// allowedSources are the source ranges and, where they let this node in, the
// load balancer addresses themselves: a packet the node sends to such an
// address may come back with it as source.
func allowedSources(port *ServicePort, node Node) []netip.Prefix {
	if port.SourceRanges == nil {
		return nil
	}
	sources := port.SourceRanges
	for _, r := range port.SourceRanges {
		for _, ip := range node.IPs {
			if !r.Contains(ip) {
				continue
			}
			sources = append([]netip.Prefix(nil), sources...)
			for _, vip := range port.LoadBalancerIPs {
				sources = append(sources, netip.PrefixFrom(vip, vip.BitLen()))
			}
			return sources
		}
	}
	return sources
}
