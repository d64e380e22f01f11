package ipvstests

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// pods are the endpoints of pods by their number, in both families: even ones on
// node1.
func pods(numbers ...int) (all []endpoint) {
	for _, n := range numbers {
		node := 1 + n%2
		for _, text := range []string{fmt.Sprintf("10.244.%d.%d", node, n), fmt.Sprintf("fd00:10:244:%d::%d", node, n)} {
			all = append(all, endpoint{netip.MustParseAddr(text), fmt.Sprintf("node%d", node)})
		}
	}
	return all
}

// A pass of IPVS mode is cut short at each of its writes. The next process
// completes it, and does nothing after that; what a Service that nobody touches
// has in the kernel is there all the time.
func TestKilledAtEachWriteInIPVSMode(t *testing.T) {
	if os.Getenv(vm.RequiredEnv) == "true" {
		t.Skip("it needs no kernel with IPVS: go test ./internal/ipvstests runs it where it is faster")
	}
	tcp, udp := []string{"TCP"}, []string{"UDP"}
	steady := service{name: "steady", number: 5, endpoints: pods(2, 3)}
	before := []service{
		steady,
		{name: "changes", number: 10, protocols: tcp, endpoints: pods(4, 5), external: []string{"203.0.113.77"}},
		{name: "leaves", number: 11, protocols: udp, endpoints: pods(4)},
		{name: "loses", number: 12, protocols: tcp, endpoints: pods(7)},
	}
	after := []service{
		steady,
		{
			name: "changes", number: 10, protocols: tcp, endpoints: pods(5, 6), external: []string{"203.0.113.78"},
			spec: "  sessionAffinity: ClientIP\n  externalTrafficPolicy: Local\n",
		},
		{name: "loses", number: 12, protocols: tcp},
		{name: "comes", number: 14, protocols: udp, endpoints: pods(4)},
	}
	for _, test := range []struct {
		name         string
		before, then []service
		drain        time.Duration
	}{
		{"first load", nil, before, 0},
		{"changes", before, after, 0},
		{"changes that drain", before, after, time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			with := settings{drainTimeout: test.drain, now: func() time.Time { return time.Unix(1000, 0) }}
			var always []string
			if test.before != nil {
				always = lines(t, with, steady)
			}
			never := newMortals(t, with)
			never.live(t, 0, nil, test.before)
			never.steady = always
			all, died := never.live(t, 0, test.before, test.then)
			never.settle(t, test.then)
			want := never.host.String()
			const least = 30
			if died || all < least {
				t.Fatalf("the whole pass has %d writes, want at least %d, or it shows little", all, least)
			}
			for last := 1; last <= all; last++ {
				m := newMortals(t, with)
				m.live(t, 0, nil, test.before)
				m.steady = always
				if _, died := m.live(t, last, test.before, test.then); !died {
					t.Fatalf("killed at write %d of %d: it was not", last, all)
				}
				m.live(t, 0, nil, test.then)
				m.settle(t, test.then)
				if diff := cmp.Diff(want, m.host.String()); diff != "" {
					t.Fatalf("killed after write %d: not as without (-want +got):\n%s", last, diff)
				}
			}
			t.Logf("killed after each of %d writes", all)
		})
	}
}

// mortals are processes on a host, one after the other.
type mortals struct {
	host *host
	with settings
	// steady are lines that must always be there.
	steady []string
	// had are the places that have had a virtual server.
	had map[ipvs.Place]bool
}

func newMortals(t *testing.T, with settings) *mortals {
	t.Helper()
	return &mortals{host: newHost(t), with: with, had: map[ipvs.Place]bool{}}
}

// live starts a process that knows of some Services and then serves others, until
// it is killed after so many writes of that.
func (m *mortals) live(t *testing.T, last int, before, services []service) (writes int, died bool) {
	t.Helper()
	store := proxier.NewStore()
	process := &life{host: m.host}
	if last == 0 { // until it is killed, a process does what one does that lives on
		process.look = func(write string) { m.look(t, write) }
	}
	var reconcilers []*proxier.Reconciler
	for _, family := range proxier.Families {
		reconcilers = append(reconcilers, process.reconciler(t, store, family, m.with))
	}
	if before != nil {
		fill(t, store, nil, before)
		m.pass(t, reconcilers)
	}
	process.writes, process.last = 0, last
	fill(t, store, before, services)
	for _, r := range reconcilers {
		switch err := r.Sync(t.Context()); {
		case errors.Is(err, errKilled):
			return process.writes, true
		case err != nil:
			t.Fatal(err)
		}
	}
	return process.writes, false
}

func (m *mortals) pass(t *testing.T, reconcilers []*proxier.Reconciler) {
	t.Helper()
	for _, r := range reconcilers {
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// settle starts a process that lets what has drained go, and then one that must
// do nothing.
func (m *mortals) settle(t *testing.T, services []service) {
	t.Helper()
	m.live(t, 0, nil, services)
	if writes, _ := m.live(t, 0, nil, services); writes != 0 {
		t.Fatalf("there is still something to do: %d writes", writes)
	}
}

// look fails the test when something steady is missing, or when packets could go
// where they must not.
func (m *mortals) look(t *testing.T, write string) {
	t.Helper()
	for _, family := range proxier.Families {
		if wrong := m.astray(t, family); wrong != "" {
			t.Fatalf("after %s %s", write, wrong)
		}
	}
	if len(m.steady) == 0 {
		return
	}
	have := m.host.served()
	for _, line := range m.steady {
		if !strings.Contains(have, line) {
			t.Fatalf("after %s there is no more %q", write, line)
		}
	}
}

// lines are what a Service that is served alone has in the kernel.
func lines(t *testing.T, with settings, only service) (all []string) {
	t.Helper()
	empty, m := newMortals(t, with), newMortals(t, with)
	empty.live(t, 0, nil, []service{})
	m.live(t, 0, nil, []service{only})
	without := empty.host.served()
	for line := range strings.Lines(m.host.served()) {
		if !strings.Contains(without, line) {
			all = append(all, line)
		}
	}
	return all
}

// astray says which packets from outside go where they must not; nothing if none do.
// To an endpoint of another node they have to be marked, or its answer takes another
// way; those to an address in none of the sets are refused by the guard. Where there
// was a virtual server, and at all other ports of its address, the host itself answers
// what the guard lets through.
func (m *mortals) astray(t *testing.T, family proxier.Family) string {
	t.Helper()
	sets, err := m.host.sets.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string, entry ipset.Entry) bool {
		i := slices.IndexFunc(sets, func(s ipset.Set) bool { return s.Name == ipset.Name(family, name) })
		return i >= 0 && slices.Contains(sets[i].Entries, entry)
	}
	list, err := m.host.servers[family].List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := map[ipvs.Place]bool{}
	for _, v := range list.Servers {
		now[v.Place], m.had[v.Place] = true, true
		at := ipset.Entry{Addr: v.Place.Addr.Addr(), Protocol: v.Place.Protocol, Port: v.Place.Addr.Port()}
		marked := in(ipset.ExternalIPs, at) || !in(ipset.ExternalIPsLocal, at)
		if port := (ipset.Entry{Port: at.Port}); port.Port >= 30000 {
			marked = in(ipset.NodePortsTCP, port) && at.Protocol == "TCP" || in(ipset.NodePortsUDP, port) && at.Protocol == "UDP"
		}
		if !marked && sendsAway(v) {
			return fmt.Sprintf("%s sends unmarked packets to another node", v.Place)
		}
	}
	for place := range m.had {
		at := ipset.Entry{Addr: place.Addr.Addr(), Protocol: place.Protocol, Port: place.Addr.Port()}
		if !now[place] && (in(ipset.ClusterIPs, at) || in(ipset.ExternalIPs, at) || in(ipset.ExternalIPsLocal, at)) {
			return fmt.Sprintf("the host itself answers at %s", place)
		}
	}
	bound, _ := m.host.devices.List(t.Context()) // it never fails
	for _, addr := range bound.BoundOf(family) {
		if !in(ipset.Bound, ipset.Entry{Addr: addr}) {
			return fmt.Sprintf("the host itself answers at all ports of %s", addr)
		}
	}
	return ""
}

// sendsAway reports whether the virtual server sends new connections to pods of node2.
func sendsAway(v *ipvs.VirtualServer) bool {
	return slices.ContainsFunc(v.Servers, func(r ipvs.RealServer) bool {
		addr := r.Addr.Addr().String()
		return r.Weight > 0 && (strings.HasPrefix(addr, "10.244.2.") || strings.HasPrefix(addr, "fd00:10:244:2:"))
	})
}
