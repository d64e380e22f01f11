package ipvstests

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A dial is what a stream does again and again. It must be answered.
type dial struct {
	from, protocol string
	to             netip.AddrPort
	// source is the client's address and port; the kernel's choice if there is none.
	source netip.Addr
	port   uint16
}

// ports gives dial n of client i among several a port of its own: above those that
// the program listens at, below node ports and what the kernel chooses. By client and
// real server alone IPVS finds the connection that an answer belongs to, so that a
// client which uses one port for two addresses of a Service may not get it, while it
// remembers both: 5 minutes over UDP, over TCP 10 seconds after a reset.
func ports(clients, i, n int) uint16 {
	const first, end = 10300, 30000
	width := (end - first) / clients
	return uint16(first + i*width + n%width)
}

// dialsAround is how many dials a stream makes at least before a change, and after.
const dialsAround = 10

// pace is how long a client waits at least from one dial to the next: in the virtual
// machine the program needs the processor, too.
const pace = 50 * time.Millisecond

// stream keeps making new connections, each from one goroutine, and reports those
// that fail. It returns when all are running; stop lets them go on for a while,
// waits for their end, and returns how many there were.
func (s *stage) stream(t *testing.T, dials []dial) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var before, after, ended sync.WaitGroup
	var changed atomic.Bool
	var all atomic.Int64
	for i, d := range dials {
		before.Add(1)
		after.Add(1)
		ended.Go(func() {
			since := 0
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-tick.C
				if n == dialsAround {
					before.Done()
				}
				if changed.Load() {
					if since == dialsAround {
						after.Done()
					}
					since++
				}
				d.port = ports(len(dials), i, n)
				reply, err := s.try(t.Context(), d)
				all.Add(1)
				if err != nil {
					t.Errorf("%s %s %s, dial %d (%d after the change): %s: %v", d.from, d.protocol, d.to, n, since, testenv.Outcome(reply, err), err)
				}
			}
		})
	}
	before.Wait()
	return func() int {
		changed.Store(true)
		after.Wait()
		cancel()
		ended.Wait()
		return int(all.Load())
	}
}

// try makes a dial. A client of UDP asks again: an answer that is under way when
// its flow is deleted from conntrack may be lost, but not another.
func (s *stage) try(ctx context.Context, d dial) (testenv.Reply, error) {
	options := testenv.DialOptions{Source: netip.AddrPortFrom(d.source, d.port), Timeout: slow}
	asks := 1
	if d.protocol == "udp" {
		asks = 4
		options.Timeout = slow / 4
	}
	conn, err := s.hosts[d.from].Open(ctx, d.protocol, d.to, options)
	if err != nil {
		return testenv.Reply{}, err
	}
	defer conn.Close()
	var reply testenv.Reply
	for range asks {
		if reply, err = conn.Ask(); !errors.Is(err, testenv.ErrTimedOut) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, s.known(ctx, conn.Local().Port()))
	}
	return reply, err
}

// known is what the node's kernel remembers of a client's port.
func (s *stage) known(ctx context.Context, port uint16) string {
	const script = "cat /proc/thread-self/net/ip_vs_conn /proc/thread-self/net/nf_conntrack 2>&1 | grep -E ' %04X |port=%d |No such'"
	output, err := s.node.Command(ctx, "sh", "-c", fmt.Sprintf(script, port, port)).CombinedOutput()
	return fmt.Sprintf("the node knows: %s (%v)", output, err)
}
