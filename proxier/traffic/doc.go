// Package traffic counts what passes through Services, from counters that the
// kernel keeps anyway: of the rules that send a connection to an endpoint, and
// of virtual servers. Nothing is added to a packet's way.
//
// The kernel's counters begin at 0 whenever what they belong to is written anew.
// A Meter makes of its readings totals that only grow. A Poller makes a reading
// when somebody asks, and at most a hundredth of the time; it works beside the
// passes, which do not wait for it.
package traffic
