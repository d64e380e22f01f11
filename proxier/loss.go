package proxier

import "time"

// A Loss is the sudden end of nearly everything that was served. Somebody may
// have deleted it all; more often an API server has sent an empty list by
// mistake, or a controller has lost its mind. Objects are the truth, so that
// what they say is done in either case; but somebody should be told.
type Loss struct {
	// Before is how many Services had usable endpoints, and Left how many of
	// those still have some.
	Before, Left int
}

const (
	// lossAtLeast is how many Services there must have been: on a small cluster
	// it is common that all of them go.
	lossAtLeast = 50
	// lossShare is what part of them must be left for the change to be an
	// ordinary one: a tenth.
	lossShare = 10
)

// lossWithin is how long a loss may take to count as one: Services and slices of
// both families come in lists of their own, and not all in the same pass.
const lossWithin = 10 * time.Second

// A lossWatch finds losses that come in several passes.
type lossWatch struct {
	base  *State // what was served when the present changes began
	since time.Time
}

// find compares with what was served a moment ago, and tells of a loss once.
func (w *lossWatch) find(before, after *State, now time.Time) *Loss {
	if w.base == nil || now.Sub(w.since) > lossWithin {
		w.base, w.since = before, now
	}
	loss := FindLoss(w.base, after)
	if loss != nil {
		w.base, w.since = after, now
	}
	return loss
}

// FindLoss compares two States, one after the other; it is nil unless nearly all
// Services that were served before, at least 50, are not any more: either they
// are gone, or all of their endpoints are. Before is nil at the start, when
// nothing is known to be lost.
func FindLoss(before, after *State) *Loss {
	if before == nil || len(before.Services) < lossAtLeast {
		return nil
	}
	loss := Loss{}
	rest := after.Services // both are sorted by name
	for _, had := range before.Services {
		if !had.served() {
			continue
		}
		loss.Before++
		for len(rest) > 0 && CompareNames(rest[0].Objects.Name, had.Objects.Name) < 0 {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Objects.Name == had.Objects.Name && rest[0].served() {
			loss.Left++
		}
	}
	if loss.Before < lossAtLeast || loss.Left*lossShare >= loss.Before {
		return nil
	}
	return &loss
}

// served reports whether there is anybody, on this node or another, who answers
// at one of the Service's ports.
func (s *Service) served() bool {
	for _, t := range s.Targets {
		if t.Internal.Verdict != Reject {
			return true
		}
	}
	return false
}
