package testenv

import (
	"context"
	"net/netip"
	"sync"
)

// probesAtOnce bounds the dials of DialAll: each holds a thread while it waits.
const probesAtOnce = 64

// Probe is a dial to be done.
type Probe struct {
	From    *Host
	Proto   string // "tcp" or "udp"
	To      netip.AddrPort
	Options DialOptions
}

// Result is what became of a Probe.
type Result struct {
	Reply
	Err error
}

// Outcome of the dial in one word; see the function Outcome.
func (r Result) Outcome() string { return Outcome(r.Reply, r.Err) }

// DialAll does many dials at once and returns their results in the same order.
// Dropped packets, which cost a timeout each, then cost little more than one.
func DialAll(ctx context.Context, probes []Probe) []Result {
	results := make([]Result, len(probes))
	slots := make(chan struct{}, probesAtOnce)
	var all sync.WaitGroup
	for i, p := range probes {
		slots <- struct{}{}
		all.Go(func() {
			results[i].Reply, results[i].Err = p.From.Dial(ctx, p.Proto, p.To, p.Options)
			<-slots
		})
	}
	all.Wait()
	return results
}
