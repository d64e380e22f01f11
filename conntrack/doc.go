// Package conntrack removes tracked UDP connections (flows) that contradict
// what is served.
//
// The kernel translates the first packet of a flow and repeats that for all
// later ones. UDP has no end of a connection: a client that goes on sending from
// the same port keeps the flow alive, and with it the address of an endpoint that
// is gone, for as long as it sends. TCP notices by itself and is never touched,
// nor is SCTP.
//
// # Which flows
//
// The decision is a comparison of a flow with what is served now (Served.Fault),
// not a reaction to changes: it needs no memory of what an endpoint was, and
// makes no difference between a change and a restart.
//
//	the flow went to      answered by              the flow
//	a served frontend     an endpoint that is      stays, whatever policies and hints say
//	                      ready or serves
//	a served frontend     anybody else             goes, also if no endpoint is left
//	a served frontend     the frontend itself:     goes if there are endpoints to send it to,
//	                      it was not translated    for it began before the rules were there
//	one no longer served  anybody, translated      goes
//	anywhere else         anybody                  stays
//	a served frontend     a serving endpoint,      goes in a mode without IPVS: nobody would send
//	                      by IPVS                  it on any more (WithoutIPVS)
//
// A node port is a frontend on addresses that the kernel says are the node's own,
// and that serve node ports. A flow that passes through the node to a port of the
// same number elsewhere is none of our business.
//
// Only the line of what is no longer served needs memory, of frontends that this process has
// served. So a restart removes nothing that is healthy; a flow to a Service that
// was deleted while no process ran stays until it falls silent.
//
// # When
//
// A comparison reads all UDP flows of a family. The kernel filters them by family
// and protocol; they are looked at one by one and only those to be removed are
// kept, at most MaxFlows at a time. No foreign flow costs memory.
//
// The Dataplane itself is like any other: Plan reads, Apply deletes what the plan
// shows, so that a dry run and a diff print what would be deleted. It reads only
// after a UDP frontend or its endpoints changed, and after Forget; never where nothing
// is served over UDP, for there no flow can be wrong. What keeps it
// off the path of the rules is where it stands: it is one of a Reconciler's
// Followers, which are synced beside the passes, after the rules are in force,
// with the last State only, at a bounded rate, and again after an error. The
// order matters: a flow that is deleted before the rules have changed comes back
// as it was.
package conntrack
