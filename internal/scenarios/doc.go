// Package scenarios reads testdata/scenarios: one behaviour of a Service proxy
// per file, from objects to packets.
//
//	config.yaml ─► config.Load ──────────┐
//	objects.yaml ─► source.Manifests ─► Store ─► proxier.Build ─► State ─► a mode's rules ─► packets
//
// A file is a txtar archive. Before its sections stands a paragraph that says
// what the scenario shows and why somebody would care. The sections:
//
//	config.yaml    optional: fields of a KubeProxyConfiguration. Without them,
//	               and without detectLocalMode, clusterCIDR is 10.244.0.0/16,
//	               fd00:10:244::/56; all else has its default.
//	objects.yaml   Services, EndpointSlices and, if the standard one will not
//	               do, the Node node1.
//	packets        what becomes of packets, written by hand from what a Service
//	               promises (package iptables/tracer/packets has the syntax).
//	problems       golden: what the manifests' reader refuses; absent for nothing.
//	state.v4/.v6   golden: the State, absent where nothing is served or refused.
//	iptables.v4/.v6  golden: the chains that differ from those of a State
//	               without Services; absent where there are none.
//	ipvs.v4/.v6    golden: the same of IPVS mode, with sets, virtual servers and
//	               addresses.
//
// go test ./internal/scenarios -update rewrites the golden sections, and never
// the packets: if these fail, either the program is wrong or the person.
//
// The standard node is node1 in zone-a with 172.18.0.11 and fd00:172:18::11;
// its pods are in 10.244.1.0/24 and fd00:10:244:1::/64. node2 and node3 are its
// neighbours, with .12 and .13, 10.244.2.0/24 and 10.244.3.0/24, and so on.
//
// The package is for tests only: those of this package, and those that load
// the same rules into a kernel.
package scenarios
