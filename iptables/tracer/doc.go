// Package tracer interprets iptables rules: it says what the kernel would do
// with the first packet of a connection, without a kernel.
//
// It is the oracle of the tests (a packet goes to the right endpoint, or it
// does not, whatever the rules look like) and the answer to an operator's
// "where does this packet go?".
//
// Goals, in this order:
//
//   - Honest. Every rule of the nat and filter tables is read when a Tracer is
//     made, and a match, option or target the tracer does not know is an error
//     that names the rule. Nothing is skipped, so an outcome can be believed.
//   - Exact. Rules that choose at random (-m statistic) are followed both ways;
//     the result is the distribution of outcomes with its probabilities, as the
//     kernel keeps them (multiples of 2⁻³¹), and not a sample of it.
//   - Fast enough for rulesets of real clusters: reading is linear in the
//     rules, tracing in the rules that are walked, plus, for every random
//     choice, what follows it.
//
// A packet's way through the hooks (those the two tables have):
//
//	from the host   nat OUTPUT ─ filter OUTPUT ─ nat POSTROUTING ─┬─ out
//	                                                              └─ (lo) filter INPUT
//	from outside    nat PREROUTING ─┬─ filter FORWARD ─ nat POSTROUTING ─ out
//	                                └─ filter INPUT ─ nat INPUT
//
// What the model leaves out, on purpose: routing beyond "is this address the
// host's own" (Packet.OutInterface says where the rest goes), reply packets,
// the tables raw, mangle and security (rules in them are an error: take the
// tables out of the Ruleset if they do not matter), and the source address a
// masqueraded packet gets: after POSTROUTING, filter INPUT sees the old one.
package tracer
