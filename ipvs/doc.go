// Package ipvs turns a proxier.State into virtual servers of the kernel's
// balancer (IPVS) and brings the kernel's into that shape.
//
//	State ──► Compile ──► Compiled{Servers, Addresses, Sets}
//	                          │
//	kernel ─► List ─► own ──► Diff ──► Patch: operations, each one netlink message
//
// Everything up to the Patch is pure. The Dataplane is the thin shell around
// it, and Kernel the only way to the real virtual servers. The sets and the
// addresses are brought into the kernel by packages ipvs/ipset and ipvs/device,
// the rules by package iptables.
//
// Ownership: the kernel keeps no mark on a virtual server, so that it is told
// by its place. Ours are those that are wanted, those at an address of
// kube-ipvs0, and those at an address of the node and a port of the node port
// range. See Ownership.
//
// Draining: a real server that is no longer wanted gets weight 0, so that it
// gets no new connections, and is deleted when those it has have ended or its
// time is over. The kernel's weight 0 is all the memory that this needs over a
// restart. See drain.go.
package ipvs
