package ipvs

import (
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Draining, for each real server that is not wanted where a frontend of a
// Service still is:
//
//	UDP, or draining is off     delete
//	weight is not 0             set weight 0: no new connections
//	out of time                 delete
//	not known to be idle        wait
//	no connections              delete
//
// Only weight 0 makes it safe to count connections: none can come between the
// look and the delete. What has weight 0 and is not wanted is draining, whoever
// set that: so a restarted process goes on where the last one ended.
//
// In another mode all virtual servers are retired, whatever place they have: the
// rules in force take new connections past them, so that a real server without
// connections can go at the first look. Those of UDP wait a moment: until its flows
// are deleted from conntrack, a datagram of one comes here, and is lost where the
// real server is gone.

// A Drain is what is known of draining, and what time it is.
type Drain struct {
	// Timeout is how long a real server may drain; 0 deletes it at once, and
	// its connections break.
	Timeout time.Duration
	// Now is the time of the Diff.
	Now time.Time
	// Since is when each real server was first seen to drain.
	Since map[RealPlace]time.Time
	// Idle are the real servers of which it is known that they had weight 0 and
	// no connections.
	Idle map[RealPlace]bool
	// Retire has real servers drain at all places, not only where a frontend is.
	// Idle are then all that have no connections, whatever their weight.
	Retire bool
}

// flowsGo is how long the deletion of UDP flows may take when virtual servers
// retire.
const flowsGo = DefaultLook

// step is what to do about one real server that is not wanted.
type step uint8

const (
	wait step = iota
	setWeight0
	remove
)

func (d *Drain) step(p RealPlace, have RealServer) step {
	since, known := d.Since[p]
	switch {
	case d.Timeout <= 0, d.Retire && d.Idle[p]:
		return remove
	case !p.drains() && d.Retire && (!known || d.Now.Sub(since) < flowsGo):
		return wait
	case !p.drains():
		return remove
	case have.Weight != 0:
		return setWeight0
	case known && d.Now.Sub(since) >= d.Timeout, d.Idle[p]:
		return remove
	default:
		return wait
	}
}

// ended reports whether some real server has drained, or has had its time. Those that
// drain have weight 0 by now.
func (d Drain) ended() bool {
	for p := range d.Since {
		if d.step(p, RealServer{}) == remove {
			return true
		}
	}
	return false
}

// outcome says what has become of the real servers that drained, when draining are
// those that still do.
func (d *Drain) outcome(want *Compiled, draining map[RealPlace]time.Time) proxier.Drains {
	drains := proxier.Drains{Draining: len(draining)}
	for p, since := range d.Since {
		if _, still := draining[p]; still {
			continue
		}
		v, back := Find(want.Servers, p.Place), false
		if v != nil {
			_, back = v.find(p.Real)
		}
		switch {
		case back:
			drains.Returned++
		case !d.Retire && want.Frontend(p.Place) == nil:
			drains.Deleted++
		case !d.Idle[p] && d.Now.Sub(since) >= d.Timeout:
			drains.TimedOut++
		default:
			drains.Ended++
		}
	}
	return drains
}

// idle are the real servers without connections: those of weight 0, or all.
func (l Listing) idle(all bool) map[RealPlace]bool {
	idle := map[RealPlace]bool{}
	for _, v := range l.Servers {
		for _, r := range v.Servers {
			p := RealPlace{v.Place, r.Addr}
			if (all || r.Weight == 0) && l.Connections[p] == 0 {
				idle[p] = true
			}
		}
	}
	return idle
}
