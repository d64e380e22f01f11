// Package packets owns the packet table: what people write by hand to say
// where packets have to go, and the check that a ruleset does that.
//
// A table has one case per line: where the packet comes from, where it is sent,
// and what becomes of it. Words are separated by spaces, "#" begins a comment.
//
//	# from              to                     expect
//	pod 10.244.1.5      10.96.10.1:80/tcp      10.244.1.21:8080 10.244.2.21:8080
//	client 192.0.2.7    172.18.0.11:30080/tcp  10.244.1.21:8080 masq
//	node                10.96.10.1:80/tcp      10.244.1.21:8080 masq
//	client 192.0.2.7    203.0.113.10:80/tcp    drop
//	pod 10.244.1.5      8.8.8.8:53/udp         -
//
// From is one of
//
//	pod ADDR[%DEVICE]     comes in over DEVICE, veth0 unless given
//	client ADDR[%DEVICE]  comes in over DEVICE, eth0 unless given
//	node [ADDR]           the host sends it, from the node's address of the
//	                      destination's family unless given
//
// To is ADDR:PORT/PROTOCOL, [ADDR]:PORT/PROTOCOL, or ADDR/PROTOCOL where the
// protocol has no ports. It is the first packet of a connection, unless
// /established, /related or /invalid follows.
//
// Expect is one of
//
//	ENDPOINT…  DNAT to one of these (ADDR:PORT), chosen with equal chances, and
//	           to nothing else; then accepted
//	-          accepted without DNAT
//	drop       dropped, wherever that happens
//	reject     refused, so that the sender hears of it
//
// and these words may stand with it:
//
//	masq           the source is rewritten (for endpoints and "-")
//	ENDPOINT=masq  only on the way to this endpoint
//	recent         session affinity: the client's next connection goes to the
//	               endpoint it got, and renews that; without the word, the
//	               client must not be remembered
package packets
