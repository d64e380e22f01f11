// Package sysctl owns the kernel parameters that the program sets: which they
// are, and how those that are different get their value. A mode needs some of
// them, and its dataplane looks after them in each pass; others, of conntrack
// and of the process itself, are the operator's wishes (Conntrack, Process),
// and are set once for each configuration, by Set.
//
// Parameters are never set back: somebody else may rely on them by now.
package sysctl
