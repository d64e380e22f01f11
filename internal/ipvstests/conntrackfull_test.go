package ipvstests

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestAFullConntrackTable: the kernel has no room for further connections, and
// says so to nobody. An endpoint is replaced all the same: connections that are
// there go on, and a UDP client of the old endpoint comes to the new one with the
// port it has. It is one of these tests since the limit is the whole machine's.
func TestAFullConntrackTable(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	dir := t.TempDir()
	endpoint := func(pod string) { writeFile(t, dir, "web.yaml", s.webManifestOf(pod)) }
	endpoint("here")
	writeFile(t, dir, "config.conf", testenv.Configuration+"mode: iptables\n")
	p.start(t, "--config="+filepath.Join(dir, "config.conf"), "--manifests="+filepath.Join(dir, "web.yaml"), "--hostname-override=node1")
	p.awaitInForce(t)

	web, source := s.addressOf(proxier.IPv4, "cluster", 10), netip.AddrPortFrom(own(s.hosts["asker"], proxier.IPv4), 5353)
	whoAnswers := func() string {
		reply, err := s.hosts["asker"].Dial(t.Context(), "udp", web, testenv.DialOptions{Source: source, Timeout: slow})
		return testenv.Outcome(reply, err)
	}
	// The kernel gives up for others what has not lasted for two seconds.
	asked := 0
	p.await(t, func() string {
		if who := whoAnswers(); who != "here" {
			t.Fatalf("%s answers, want here", who)
		}
		if asked++; asked < 5 {
			return "the flow is young"
		}
		return ""
	})
	kept := s.fillConntrack(t, web)
	endpoint("there")
	p.awaitInForce(t)
	p.await(t, func() string {
		if who := whoAnswers(); who != "there" {
			return fmt.Sprintf("%s answers the UDP client, want there", who)
		}
		return ""
	})
	for _, conn := range kept {
		if who := goesOn(t, conn); who != "here" {
			t.Errorf("a connection that was there goes on with %s, want here", who)
		}
	}
	p.end(t)
}

// fillConntrack opens connections until no more have room, and returns some.
func (s *stage) fillConntrack(t *testing.T, to netip.AddrPort) []*testenv.Conn {
	t.Helper()
	const file, limit = "/proc/sys/net/netfilter/nf_conntrack_max", 100
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(file, before, 0o644) })
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", limit), 0o644); err != nil {
		t.Fatal(err)
	}
	var open []*testenv.Conn
	for range limit + 1 {
		conn, err := s.hosts["asker"].Open(t.Context(), "tcp", to, testenv.DialOptions{Timeout: slow})
		if err != nil {
			if !errors.Is(err, testenv.ErrTimedOut) {
				t.Fatalf("a connection that finds no room: %v, want that it times out", err)
			}
			return open
		}
		t.Cleanup(func() { _ = conn.Close() })
		open = append(open, conn)
	}
	t.Fatalf("%d connections found room, though there is some for %d", len(open), limit)
	return nil
}
