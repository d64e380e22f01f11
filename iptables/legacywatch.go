package iptables

import (
	"time"

	"github.com/kube-proxier/kube-proxier/iptables/legacytable"
)

// A tableWatch decides when a table of iptables-legacy was changed by somebody
// else. It compares the Info each time, and the content where that says little:
// when the Info changed, so that others may write chains of their own, when others
// had the lock, and at times for those who lock nothing and leave the Info as it is.
type tableWatch struct {
	// info is the last known.
	info legacytable.Info
	// digest is of what is ours; only if digested.
	digest   uint64
	digested bool
	// due is whether there is a reason to take the digest: somebody had the lock.
	due bool
	// taken is when the digest was, and took for how long that kept the processor.
	taken time.Time
	took  time.Duration
}

// How often a table is looked at although nobody had the lock. An idle node shall stay
// one: without a reason the content is compared so rarely that it takes a
// hundred-thousandth of the time, and never so often that it takes more than a
// thousandth. After a write of ours it is read at once unless it has so many entries,
// some hundred thousand for ten thousand Services, that who waits for the write would
// notice.
const (
	legacyPoll       = time.Second
	legacyCompare    = legacyPoll + legacyPoll/2 // with the look after the next
	legacyShare      = 100_000
	legacyShareIfDue = 1000
	legacyAtOnce     = 20_000
)

// wrote remembers the Info after a write of our own, or at the start. The content
// is taken at once, or of a large table as soon as that is not too often: what others
// change before is taken for ours.
func (w *tableWatch) wrote(info legacytable.Info) {
	w.info, w.digested, w.due = info, false, true
	if info.Entries <= legacyAtOnce {
		w.taken = time.Time{}
	}
}

// look reports whether somebody else has changed what is ours, or may have. It
// calls digest, which takes long and says how long, where that is needed, and if
// thorough also where it is time to.
func (w *tableWatch) look(
	thorough bool, info legacytable.Info, now time.Time, digest func() (sum uint64, took time.Duration, err error),
) bool {
	same := info == w.info
	if same && (!thorough || now.Before(w.next())) {
		return false
	}
	w.info = info
	if !same && !w.digested {
		return true
	}
	sum, took, err := digest()
	w.taken, w.took, w.due = now, took, false
	before, compared := w.digest, w.digested
	w.digest, w.digested = sum, err == nil
	if err != nil { // nobody can tell; if it did not change at least its size did not
		return !same
	}
	return compared && sum != before
}

// next is when the content is compared again although the Info is the same.
func (w *tableWatch) next() time.Time {
	if w.due {
		return w.taken.Add(legacyShareIfDue * w.took)
	}
	return w.taken.Add(max(legacyCompare, legacyShare*w.took))
}

// strangers counts a table's entries that are not ours. Their number is known from
// when the table was read, and changes while we do not write. If what is there after
// a write of ours is not that and ours, somebody else wrote at the same time.
type strangers struct {
	number int
	// entries are all there were last, and left all after the last write of ours.
	entries, left int
	// read is where the number was taken from.
	read *reading
	// wrote is whether we wrote since it was last checked.
	wrote bool
}

// written takes note of a table after a write of ours.
func (s *strangers) written(entries uint32) {
	s.entries, s.left, s.wrote = int(entries), int(entries), true
}

// changed reports whether the table had other strangers after our last write than it
// should have had. It has that many entries now, of which own is ours; own is nil
// while nobody knows.
func (s *strangers) changed(table string, entries uint32, own *Observation) bool {
	s.number += int(entries) - s.entries
	s.entries = int(entries)
	if own == nil || own.read[table] == nil || own.read[table] == s.read && !s.wrote {
		return false
	}
	if own.read[table] != s.read {
		s.read = own.read[table]
		s.number = s.read.others + s.entries - s.left
	}
	now := s.entries - own.entries(table)
	changed := s.wrote && now != s.number
	s.number, s.wrote = now, false
	return changed
}

// entries is how many the kernel has of what is ours, in the legacy variant: one for
// each rule, and two for a chain, at its head and its end.
func (o *Observation) entries(table string) int {
	n := 0
	for _, c := range o.Own.Table(table).Chains {
		n += len(c.Rules)
		if c.Policy == "" {
			n += 2
		}
	}
	return n
}
