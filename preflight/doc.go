// Package preflight looks, before anything is served, whether this host has
// what it takes, and what stands in the way: "kube-proxier check", and the
// first thing at every start.
//
//	Gather: reads the host ──► Facts ──► Judge: pure ──► []Finding ──► text, JSON, log, /status
//
// Facts say how things are; what that means, why it matters and what to do
// about it is decided in Judge and the functions it calls, one for each
// subject, which know no kernel. Gathering changes nothing: what can only be
// found out by trial is tried in a network namespace of its own.
//
// A finding is fatal only where nothing could be served. All others are
// warnings: a node that serves somehow is better than one that does not start.
package preflight
