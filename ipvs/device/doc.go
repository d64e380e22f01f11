// Package device owns the network device kube-ipvs0 and the Service addresses on
// it, by which the node takes packets to them for its own, so that they reach
// IPVS.
//
// The device is of type dummy and stays down: the kernel's local routes, which
// are all that is needed, are there nevertheless.
//
//	Host (what the node has) ─┐
//	Address (what is wanted) ─┴► Diff ──► Ops and Problems
//
// When another mode takes over, addresses are retired: they leave the device, and
// a local route on the loopback device keeps up the connections there are. Without
// the address the node does not take it for its own when it opens a connection to
// the Service, as it would to an address it has (net/ipv4/route.c: what is local
// is reached from itself). So no such connection is left when the route goes.
//
// Ownership: local routes of our protocol number; the device kube-ipvs0, if it is a dummy, and all addresses on it.
// Other devices are only looked at: an address that one of them has is the
// node's, and never goes to kube-ipvs0.
package device
