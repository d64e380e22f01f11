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
// Ownership: the device kube-ipvs0, if it is a dummy, and all addresses on it.
// Other devices are only looked at: an address that one of them has is the
// node's, and never goes to kube-ipvs0.
package device
