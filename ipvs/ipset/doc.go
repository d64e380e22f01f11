// Package ipset owns the sets of addresses and ports (ipset(8)) that the rules
// of IPVS mode match: what they should hold, what the kernel holds, and the
// way from one to the other.
//
// A Set is a value and prints as ipset save does. Diff is pure and yields Ops,
// Sets and Leftovers are the dataplanes around it, and Kernel is the only way
// to the real sets.
//
// Ownership: the sets of Owned, by name. Names with KUBE-6- hold IPv6, the
// others IPv4. Everything else belongs to others and is never changed.
package ipset
