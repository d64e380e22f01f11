package ipvstests

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// deadline is when a test gives up waiting for the kernel.
const deadline = 2 * time.Minute

// weightOf is the weight a pod has behind a Service's address, and whether it is
// there.
func (s *stage) weightOf(t *testing.T, protocol string, at netip.AddrPort, pod string) (weight int, there bool) {
	t.Helper()
	family := proxier.FamilyOf(at.Addr())
	flag := map[string]string{"tcp": "-t", "udp": "-u"}[protocol]
	prefix := fmt.Sprintf("-a %s %s -r %s -m -w ", flag, at, netip.AddrPortFrom(own(s.hosts[pod], family), 8080))
	for line := range strings.Lines(s.proxies[family].servers(t)) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			if _, err := fmt.Sscan(rest, &weight); err != nil {
				t.Fatal(err)
			}
			return weight, true
		}
	}
	return 0, false
}

func (s *stage) mustWeigh(t *testing.T, protocol string, at netip.AddrPort, pod string, want int) {
	t.Helper()
	if weight, there := s.weightOf(t, protocol, at, pod); !there || weight != want {
		t.Fatalf("%s behind %s %s: have weight %d, there %v; want weight %d", pod, protocol, at, weight, there, want)
	}
}

// until makes passes until a pod is gone from a virtual server.
func (s *stage) untilGone(t *testing.T, at netip.AddrPort, pod string) {
	t.Helper()
	for end := time.Now().Add(deadline); ; {
		s.sync(t)
		if _, there := s.weightOf(t, "tcp", at, pod); !there {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s is still behind %s", pod, at)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// A connection outlives its endpoint's removal, a return of the endpoint, and a
// restart of the program; the endpoint goes with it.
func TestConnectionsDrain(t *testing.T) {
	s := newStage(t, []string{"old"}, []string{"new"}, settings{look: time.Millisecond})
	before := service{name: "web", number: 10, endpoints: s.on("old")}
	after := service{name: "web", number: 10, endpoints: s.on("new")}
	for _, family := range proxier.Families {
		at := s.addressOf(family, "lb", 10)
		s.serve(t, before)
		conn, _ := s.open(t, "client", "tcp", at)
		datagrams, _ := s.open(t, "client", "udp", at)
		s.serve(t, after)
		s.mustWeigh(t, "tcp", at, "old", 0)
		if _, there := s.weightOf(t, "udp", at, "old"); there {
			t.Errorf("%s: an endpoint of UDP drains, want it deleted at once", family)
		}
		if have := goesOn(t, conn); have != "old" {
			t.Errorf("%s: the connection goes on with %s, want old", family, have)
		}
		if have := asksOn(t, datagrams); have != "new" {
			t.Errorf("%s: after the removal datagrams reach %s, want new", family, have)
		}
		for range 4 {
			if have := s.ask(t, "client", at, netip.AddrPort{}); have != "new" {
				t.Errorf("%s: while old drains a new connection reaches it: %s", family, have)
			}
		}
		s.serve(t, service{name: "web", number: 10, endpoints: s.on("old", "new")})
		s.mustWeigh(t, "tcp", at, "old", 1)
		s.serve(t, after)
		s.mustWeigh(t, "tcp", at, "old", 0)
		s.restart(t, settings{look: time.Millisecond})
		s.mustWeigh(t, "tcp", at, "old", 0)
		if have := goesOn(t, conn); have != "old" {
			t.Errorf("%s: after a restart the connection goes on with %s, want old", family, have)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		s.untilGone(t, at, "old")
	}
}

// asksOn asks as a client of UDP does, again when nothing comes back: the kernel
// drops what arrives before it has forgotten the flow to a deleted real server.
func asksOn(t *testing.T, conn *testenv.Conn) string {
	t.Helper()
	for end := time.Now().Add(deadline); ; {
		reply, err := conn.Ask()
		switch {
		case err == nil:
			return reply.Server
		case !errors.Is(err, testenv.ErrTimedOut) || time.Now().After(end):
			t.Fatal(err)
		}
	}
}

// restart puts new dataplanes in the place of those there are.
func (s *stage) restart(t *testing.T, with settings) {
	t.Helper()
	if with.drainTimeout == 0 {
		with.drainTimeout = time.Hour
	}
	for _, family := range proxier.Families {
		s.proxies[family] = newProxy(t, s.node, s.store, family, with)
	}
	s.sync(t)
}

// A connection that does not end in time is ended.
func TestDrainingHasADeadline(t *testing.T) {
	now := time.Now()
	s := newStage(t, []string{"old"}, []string{"new"}, settings{
		drainTimeout: time.Minute, look: time.Millisecond, now: func() time.Time { return now },
	})
	at := s.addressOf(proxier.IPv4, "lb", 10)
	s.serve(t, service{name: "web", number: 10, endpoints: s.on("old")})
	conn, _ := s.open(t, "client", "tcp", at)
	s.serve(t, service{name: "web", number: 10, endpoints: s.on("new")})
	now = now.Add(time.Minute - time.Second)
	s.sync(t)
	s.mustWeigh(t, "tcp", at, "old", 0)
	goesOn(t, conn)
	now = now.Add(time.Second)
	s.sync(t)
	if _, there := s.weightOf(t, "tcp", at, "old"); there {
		t.Errorf("after the deadline old is still there:\n%s", s.proxies[proxier.IPv4].servers(t))
	}
	if reply, err := conn.Ask(); err == nil {
		t.Errorf("after the deadline %s still answers", reply.Server)
	}
}

// Where nobody is left to answer, new clients are refused while a connection
// goes on; when the Service goes, everything goes at once.
func TestLastEndpointDrains(t *testing.T) {
	s := newStage(t, []string{"old"}, nil, settings{look: time.Millisecond})
	for _, family := range proxier.Families {
		at := s.addressOf(family, "lb", 10)
		s.serve(t, service{name: "web", number: 10, endpoints: s.on("old")})
		conn, _ := s.open(t, "client", "tcp", at)
		s.serve(t, service{name: "web", number: 10})
		s.mustWeigh(t, "tcp", at, "old", 0)
		if have := s.outcome(t, "client", "tcp", at); have != testenv.ErrRefused.Error() {
			t.Errorf("%s: a new client is %s, want refused", family, have)
		}
		if have := goesOn(t, conn); have != "old" {
			t.Errorf("%s: the connection goes on with %s, want old", family, have)
		}
		s.serve(t)
		if left := s.proxies[family].servers(t); left != "" {
			t.Errorf("%s: the Service is gone, and there is\n%s", family, left)
		}
	}
}
