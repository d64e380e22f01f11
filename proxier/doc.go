// Package proxier is the pure core: what this node should serve, for every
// mode and without knowing any kernel.
//
//	Store ──► Snapshot ──► Build ──► State ──► Dataplane.Plan ──► Plan.Apply
//	latest    immutable    pure      sorted    reads only         the only writes
//	objects   value        function  value
//
// Build decides once what all modes share: which Services and ports count,
// which endpoints answer for them, and what happens to traffic that nobody
// answers for. A mode only translates a State into its own kernel objects.
//
// Snapshot and State are immutable and share structure with their
// predecessors: a Service whose objects did not change keeps the same
// *ServiceObjects, and so the same *Target and *Frontend. Whoever derives
// something from them can skip what is pointer-equal, so that the cost of a
// pass follows what changed and not the size of the cluster.
//
// Nothing here does I/O or logs. What decides is told the time where it needs it,
// such as a feud; clocks are read by what runs the picture above: the Reconciler, its
// cycle of passes, which asks the Pacer when, its followers, its guard, and the Poll of
// a Sentry.
package proxier
