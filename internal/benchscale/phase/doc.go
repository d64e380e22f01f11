// Package phase measures one program at one size, phase by phase, in network
// namespaces of its own:
//
//	caller (a pod) ── node1, with the program ── backends (a pod that answers for every endpoint)
//	caller (a pod) ── node2, with no proxy    ── backends
//
// No phase asserts anything: a phase that takes longer than it may ends the run, and
// the report says so.
package phase
