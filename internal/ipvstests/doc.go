// Package ipvstests tests IPVS mode as a whole on a real kernel: sets, rules,
// virtual servers and addresses of a node, put there by the dataplanes, and
// packets between network namespaces that have to find their way through them.
//
// One test kills a process at each write to stand-ins for the kernel instead.
//
// It has tests only. `make test-ipvs` runs them, in a virtual machine where this
// kernel lacks something. Everything is slow there, so that nothing in here
// depends on how long something takes.
package ipvstests
