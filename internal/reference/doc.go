// Package reference is a second opinion: what a Service promises, as plainly as it
// can be said, to hold what the program does against.
//
// It is written from what users rely on (the API's documentation, KEP-1669,
// KEP-2086, KEP-2433, KEP-1860, and kube-proxy's observable behaviour), for one
// packet at a time. It looks at all Services for each packet, keeps nothing, and
// shares no code with what it checks: no State, no rules, no package of the
// program but the words for packets and their fates.
//
// The tests of the package make small, crowded clusters at random, send packets
// through the rules, sets and virtual servers of each mode, and compare. They do
// the same with the packets of testdata/scenarios, so that the model is held
// against what people wrote by hand.
//
//	go test ./internal/reference -seeds 5000          # more of them
//	go test ./internal/reference -seed 77             # that one
//	go test ./internal/reference -fuzz FuzzTheModel   # until it finds one
//
// What fails is made smaller and printed as a scenario.
//
// Where kube-proxy leaves something open or does it worse, the model says what
// docs/design.md decides: who gets a place that several want, that addresses of
// the node itself cannot be claimed, that refusals hold for the node, too, and
// that node ports are refused only where they are served.
package reference
