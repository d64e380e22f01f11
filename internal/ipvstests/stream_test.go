package ipvstests

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A dial is what a stream does again and again. It must be answered.
type dial struct {
	from, protocol string
	to             netip.AddrPort
	// source is the client's address; the kernel's choice if there is none.
	source netip.Addr
}

// dialsAround is how many dials a stream makes at least before a change, and after.
const dialsAround = 10

// stream keeps making new connections, each from one goroutine, and reports those
// that fail. It returns when all are running; stop lets them go on for a while
// and waits for their end.
func (s *stage) stream(t *testing.T, dials []dial) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var before, after, ended sync.WaitGroup
	var changed atomic.Bool
	for _, d := range dials {
		before.Add(1)
		after.Add(1)
		ended.Go(func() {
			since := 0
			for n := 0; ctx.Err() == nil; n++ {
				if n == dialsAround {
					before.Done()
				}
				if changed.Load() {
					if since == dialsAround {
						after.Done()
					}
					since++
				}
				reply, err := s.hosts[d.from].Dial(t.Context(), d.protocol, d.to, testenv.DialOptions{Source: netip.AddrPortFrom(d.source, 0), Timeout: slow})
				if err != nil {
					t.Errorf("%s %s %s, dial %d (%d after the change): %s: %v", d.from, d.protocol, d.to, n, since, testenv.Outcome(reply, err), err)
				}
			}
		})
	}
	before.Wait()
	return func() {
		changed.Store(true)
		after.Wait()
		cancel()
		ended.Wait()
	}
}
