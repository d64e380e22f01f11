package report

import (
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
)

// A Run is everything that was measured of one program in one mode at one size.
// Parts that are nil were not measured. Durations are in seconds unless a name says
// otherwise.
type Run struct {
	subject.Kind
	load.Size

	Version string    `json:"version,omitempty"` // what the program calls itself
	When    time.Time `json:"when"`
	VM      bool      `json:"vm,omitempty"` // measured in the emulated machine
	// Failed says why the run ended before its end.
	Failed string `json:"failed,omitempty"`

	Start   *Start    `json:"start,omitempty"`
	Memory  *Memory   `json:"memory,omitempty"`
	Idle    *Idle     `json:"idle,omitempty"`
	One     *Changes  `json:"one,omitempty"`
	Ten     *Changes  `json:"ten,omitempty"`
	Fifty   *Changes  `json:"fifty,omitempty"`
	Restart *Restart  `json:"restart,omitempty"`
	Packets []Packets `json:"packets,omitempty"`
}

// Start is the first start, with a kernel that has no rules.
type Start struct {
	Served  float64 `json:"served"`  // until the last Service was served
	CPU     float64 `json:"cpu"`     // used until then
	Settled float64 `json:"settled"` // CPU used until there was nothing more to do
}

// Restart is a start with the kernel already right.
type Restart struct {
	Synced float64 `json:"synced"` // until the first pass had succeeded
	CPU    float64 `json:"cpu"`    // until there was nothing more to do
	// Written is how many chains and rules were written or deleted, where the
	// program tells.
	Written *float64 `json:"written,omitempty"`
}

// Memory is resident memory in MiB, of the program without those it runs.
type Memory struct {
	Steady float64 `json:"steadyMiB"`
	Peak   float64 `json:"peakMiB"`
}

// Idle is a time in which nothing changed.
type Idle struct {
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`
}

// Changes are endpoints that were replaced. One of 10 endpoints of a Service is
// replaced by an address that was none before; the delay is from the API write until
// a new connection first reaches it.
type Changes struct {
	Rate    float64 `json:"rate"` // other changes per second beside the observed ones; 0: one change at a time
	Count   int     `json:"count"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Seconds float64 `json:"seconds"`
	// CPU is per change where Rate is 0, and per second otherwise.
	CPU float64 `json:"cpu"`
	// Lines is how many rules and chains were written for a change, where the
	// program tells.
	Lines *float64 `json:"lines,omitempty"`
}

// Packets are first packets of new connections on one way.
type Packets struct {
	Way     string  `json:"way"`
	Samples int     `json:"samples"`
	P50     float64 `json:"p50us"` // µs
	P99     float64 `json:"p99us"` // µs
	// Base is the median of the same connections on a node that has no proxy, but
	// connection tracking and a rule in each hook; both took turns.
	Base float64 `json:"baseP50us"` // µs
	// Rules is how many rules of nat and filter the packet walks on average, over
	// the choices of an endpoint; nil where there is no rule to count.
	Rules *float64 `json:"rules,omitempty"`
}

// The ways of packets.
const (
	// WayBare has no rules and no connection tracking, WayBaseline connection
	// tracking and one rule in each hook, as any node has.
	WayBare     = "no rules, no conntrack"
	WayBaseline = "no rules"
	WayPod      = "pod to pod"
	WayFirst    = "first Service"
	WayLast     = "last Service"
	WayRandom   = "random Service"
	WayLarge    = "1,000 endpoints"
	WayLargest  = "5,000 endpoints"
)

// packets finds a way; nil if it was not measured.
func (r *Run) packets(way string) *Packets {
	for i := range r.Packets {
		if r.Packets[i].Way == way {
			return &r.Packets[i]
		}
	}
	return nil
}

// same tells whether two runs are of the same thing, so that the newer one takes
// the other's place.
func (r *Run) same(other *Run) bool { return r.Kind == other.Kind && r.Size == other.Size }
