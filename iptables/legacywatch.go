package iptables

import (
	"time"

	"github.com/kube-proxier/kube-proxier/iptables/legacytable"
)

// A tableWatch decides when a table of iptables-legacy was changed by somebody
// else. It compares the Info each time, and the content where that says little:
// when the Info changed, so that others may write chains of their own, and at
// times for changes that leave the Info as it is.
type tableWatch struct {
	// info is the last known.
	info legacytable.Info
	// digest is of what is ours; only if digested.
	digest   uint64
	digested bool
	// next is when the content is compared again although the Info is the same.
	next time.Time
}

// How often a table is looked at. The content is compared with every other look
// at most, which repairs a rule that moved within a second, and never so often
// that it takes more than a thousandth of the time: an idle node shall stay one.
const (
	legacyPoll    = 400 * time.Millisecond
	legacyCompare = legacyPoll + legacyPoll/2 // with the look after the next
	legacyShare   = 1000
)

// wrote remembers the Info after a write of our own, or at the start.
func (w *tableWatch) wrote(info legacytable.Info) {
	w.info, w.digested = info, false
}

// look reports whether somebody else has changed what is ours, or may have. It
// calls digest, which takes long, where that is needed, and if thorough also
// where it is time to.
func (w *tableWatch) look(thorough bool, info legacytable.Info, now func() time.Time, digest func() (uint64, error)) bool {
	same := info == w.info
	start := now()
	if same && (!thorough || start.Before(w.next)) {
		return false
	}
	w.info = info
	if !same && !w.digested {
		return true
	}
	sum, err := digest()
	end := now()
	w.next = end.Add(max(legacyCompare, legacyShare*end.Sub(start)))
	before, compared := w.digest, w.digested
	w.digest, w.digested = sum, err == nil
	if err != nil { // nobody can tell; if it did not change at least its size did not
		return !same
	}
	return compared && sum != before
}
