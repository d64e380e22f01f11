package measure

import (
	"math"
	"slices"
	"time"
)

// A Sample is a set of durations, in any order.
type Sample []time.Duration

// Percentile is the smallest duration that at least p percent of the sample do
// not exceed (the nearest-rank method); 0 for an empty sample.
func (s Sample) Percentile(p float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}
