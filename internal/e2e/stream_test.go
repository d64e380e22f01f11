package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A stream opens one connection after the other to Services that nobody
// touches, while something happens that they must not notice.
type stream struct {
	s    *stage
	end  chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	count    int
	slowest  time.Duration
	failures []failure
	stalls   []time.Time
}

// A failure is a dial that was not answered.
type failure struct {
	start time.Time
	text  string
}

const (
	// streamEvery is how often a stream dials, per probe.
	streamEvery = 4 * time.Millisecond
	// streamTimeout is below the second after which TCP repeats a SYN: one lost
	// packet is a failure.
	streamTimeout = 900 * time.Millisecond
	// The ports are the sources of each probe's connections, one after the
	// other, below those that the kernel gives out. It would choose some of them
	// a second time while conntrack still knows the first, and conntrack does
	// not always take the SYN for that of a new connection. It forgets them
	// within 30 s, before the ports begin anew.
	firstStreamPort, lastStreamPort = 4096, 32767
)

// startStream dials each of the probes again and again.
func (s *stage) startStream(probes ...testenv.Probe) *stream {
	st := &stream{s: s, end: make(chan struct{})}
	st.done.Go(st.watchMachine)
	// Probes from the same address share the ports out.
	sharing := map[string][]testenv.Probe{}
	for _, probe := range probes {
		probe.Options.Timeout = streamTimeout
		source := fmt.Sprint(probe.From.Name, probe.Proto, probe.To.Addr().Is6())
		sharing[source] = append(sharing[source], probe)
	}
	for _, probes := range sharing {
		for i, probe := range probes {
			st.done.Go(func() { st.run(probe, i, len(probes)) })
		}
	}
	return st
}

// run takes every n-th port from the i-th on.
func (st *stream) run(probe testenv.Probe, i, n int) {
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	source := probe.From.Addr4() // a wildcard address would take the port for both families
	if probe.To.Addr().Is6() {
		source = probe.From.Addr6()
	}
	for port := firstStreamPort + i; ; port += n {
		if port > lastStreamPort {
			port = firstStreamPort + i
		}
		probe.Options.Source = netip.AddrPortFrom(source, uint16(port)) //nolint:gosec // below 65536
		select {
		case <-st.end:
			return
		case <-tick.C:
		}
		start := time.Now()
		_, err := probe.From.Dial(st.s.t.Context(), probe.Proto, probe.To, probe.Options)
		st.note(probe, start, err)
	}
}

func (st *stream) note(probe testenv.Probe, start time.Time, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.count++
	st.slowest = max(st.slowest, time.Since(start))
	if err != nil {
		st.failures = append(st.failures, failure{start, fmt.Sprintf("%s %s to %s %s: %v",
			start.Format("15:04:05.000"), probe.From.Name, probe.Proto, probe.To, err)})
	}
}

// stalled is how long an answer from loopback may take on a machine that is well.
const stalled = streamTimeout / 3

// watchMachine notes when this machine is too busy to tell anything: when even a
// server on the loopback of a host that no rules are on does not answer soon.
func (st *stream) watchMachine() {
	host := st.s.Client()
	server, err := host.Serve("tcp", netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		st.s.t.Error(err)
		return
	}
	defer server.Close()
	tick := time.NewTicker(5 * streamEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-st.end:
			return
		case <-tick.C:
		}
		_, err := host.Dial(st.s.t.Context(), "tcp", server.Addr(), testenv.DialOptions{})
		now := time.Now()
		if err != nil || now.Sub(last) > stalled {
			st.mu.Lock()
			st.stalls = append(st.stalls, last, now)
			st.mu.Unlock()
		}
		last = now
	}
}

// excused reports whether the machine stalled during a dial that failed.
func (st *stream) excused(f failure) bool {
	end := f.start.Add(2 * streamTimeout) // to connect, and to be answered
	for i := 0; i < len(st.stalls); i += 2 {
		if st.stalls[i].Before(end) && st.stalls[i+1].After(f.start) {
			return true
		}
	}
	return false
}

// stop ends the stream. No connection may have failed, and there must have been
// enough of them to notice a gap.
func (st *stream) stop(during string) {
	st.s.t.Helper()
	close(st.end)
	st.done.Wait()
	all := len(st.failures)
	failures := slices.DeleteFunc(st.failures, st.excused)
	for _, f := range failures[:min(len(failures), 10)] {
		st.s.t.Errorf("during %s: %s", during, f.text)
	}
	st.s.t.Logf("during %s: %d new connections, %d failed, the slowest took %s; besides, %d failed while the machine stalled, which it did %d times",
		during, st.count, len(failures), st.slowest.Round(time.Millisecond), all-len(failures), len(st.stalls)/2)
	const enough = 100
	if st.count < enough {
		st.s.t.Errorf("during %s: %d connections, want at least %d to see something", during, st.count, enough)
	}
}

// startSteady creates a Service with node ports that no test touches, and when
// it is served starts a stream of connections to it.
func (s *stage) startSteady() *stream {
	s.t.Helper()
	service := s.createBalanced("steady")
	s.setEndpoints("steady", s.remote)
	internal := from(clusterIPs(service), s.caller)
	external := from(nodePorts(service, s.node1), s.Client())
	s.expect("the steady Service", "remote", append(internal, external...))
	return s.startStream(append(internal, external...)...)
}
