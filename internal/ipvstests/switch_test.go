package ipvstests

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// The real program changes from iptables mode to IPVS mode and back while new
// connections are made all the time. None fails, connections of the mode before
// go on, and in the end nothing of IPVS mode is left.
func TestModesChangeUnderTraffic(t *testing.T) {
	s := newStage(t, []string{"asker"}, nil, settings{})
	s.addEndpoints(t)
	p := newProgram(t, s)
	change := func(args ...string) {
		t.Helper()
		start := time.Now()
		if p.cmd != nil {
			p.end(t)
		}
		p.start(t, append(args,
			"--manifests="+dumps+"objects.json", "--hostname-override=node1", "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56")...)
		p.awaitInForce(t)
		t.Logf("in force after %v: %v", time.Since(start).Round(time.Second), args)
	}
	change("--proxy-mode=iptables")
	byRules := s.openLasting(t)
	stop := s.stream(t, recordedDials())
	change("--proxy-mode=ipvs")
	byRules.mustGoOn(t, "from iptables mode to IPVS mode")
	byServers := s.openLasting(t)
	change("--proxy-mode=iptables", "--ipvs-drain-timeout=1h")
	byRules.mustGoOn(t, "to IPVS mode and back")
	byServers.mustGoOn(t, "from IPVS mode to iptables mode")
	byRules.close(t)
	byServers.close(t)
	// Nobody needs to wait for what the kernel remembers of ended connections.
	change("--proxy-mode=iptables", "--ipvs-drain-timeout=1s")
	p.awaitNothingLeft(t)
	stop()
	p.end(t)
}

// lasting are connections that stay open, with who answers.
type lasting map[*testenv.Conn]lastingDial

type lastingDial struct {
	dial

	server string
}

// openLasting opens a connection of each kind of client. Datagrams that IPVS has
// sent on may go elsewhere afterwards, but have to be answered.
func (s *stage) openLasting(t *testing.T) lasting {
	t.Helper()
	all := lasting{}
	for _, d := range recordedDials() {
		options := testenv.DialOptions{Source: netip.AddrPortFrom(d.source, 0), Timeout: slow}
		conn, err := s.hosts[d.from].Open(t.Context(), d.protocol, d.to, options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		all[conn] = lastingDial{d, goesOn(t, conn)}
	}
	return all
}

func (l lasting) mustGoOn(t *testing.T, how string) {
	t.Helper()
	for conn, d := range l {
		if d.protocol == "udp" {
			asksOn(t, conn)
			continue
		}
		reply, err := conn.Ask()
		if err != nil || reply.Server != d.server {
			t.Errorf("%s: a connection of %s over %s to %s, answered by %s: now %v, %v", how, d.from, d.protocol, d.to, d.server, reply.Server, err)
		}
	}
}

func (l lasting) close(t *testing.T) {
	t.Helper()
	for conn := range l {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
