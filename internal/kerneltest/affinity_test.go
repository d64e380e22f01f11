package kerneltest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// clients are n addresses of the outside client, and their places.
func clients(first netip.Addr, n int) ([]netip.Addr, places) {
	var list []netip.Addr
	p := places{}
	for addr := first; len(list) < n; addr = addr.Next() {
		list = append(list, addr)
		p[addr] = outside
	}
	return list, p
}

const (
	stickyTimeout = 2 * time.Second
	stickySpec    = `  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}
`
	stickyForLongSpec = `  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 600}}
`
)

// sticky is a Service with session affinity and two endpoints of each family.
func sticky(spec string) service {
	return service{
		name: "sticky", protocol: "TCP", ips: [2]string{"10.96.31.1", "fd00:10:96::33"}, spec: spec,
		endpoints: addrsOf("10.244.1.21", "10.244.1.22", "fd00:10:244:1::21", "fd00:10:244:1::22"),
	}
}

// eachFamily are the Service's address and the first client of both.
func eachFamily(t *testing.T, s service, test func(t *testing.T, vip netip.AddrPort, firstClient netip.Addr)) {
	firstClients := addrsOf("192.0.2.7", "2001:db8:9::7")
	for i, ip := range s.ips {
		vip := netip.MustParseAddr(ip)
		name := map[bool]string{true: "IPv4", false: "IPv6"}[vip.Is4()]
		t.Run(name, func(t *testing.T) { test(t, netip.AddrPortFrom(vip, 80), firstClients[i]) })
	}
}

// TestAffinityHolds: a client stays with its endpoint, clients are spread over
// both, and a client whose endpoint is gone gets the other.
func TestAffinityHolds(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		svc := sticky(stickyForLongSpec)
		eachFamily(t, svc, func(t *testing.T, vip netip.AddrPort, first netip.Addr) {
			t.Parallel()
			const many = 40 // that all get the same of two endpoints: once in 2³⁹
			all, where := clients(first, many)
			for _, e := range svc.endpoints {
				where[e] = answersHere
			}
			s := newScene(t, variant, where, []netip.Addr{vip.Addr()})
			s.serve(t, parseObjects(t, svc.String()))
			s.listen(t, "tcp", svc.endpoints)

			got := map[netip.Addr]netip.Addr{}
			clientsOf := map[netip.Addr]int{}
			for _, client := range all {
				got[client] = s.ask(t, "tcp", client, vip)
				clientsOf[got[client]]++
			}
			if len(clientsOf) != 2 {
				t.Errorf("%d clients got only %v", many, clientsOf)
			}
			for range 20 {
				if have := s.ask(t, "tcp", first, vip); have != got[first] {
					t.Errorf("the client had %s, and now %s", got[first], have)
				}
			}
			fewer := svc
			fewer.endpoints = nil
			for _, e := range svc.endpoints {
				if e != got[first] {
					fewer.endpoints = append(fewer.endpoints, e)
				}
			}
			s.serve(t, parseObjects(t, fewer.String()))
			for _, client := range all {
				if have := s.ask(t, "tcp", client, vip); have == got[first] {
					t.Errorf("%s is gone and answered", have)
				} else if got[client] != got[first] && have != got[client] {
					t.Errorf("the client had %s, which is still there, and now %s", got[client], have)
				}
			}
		})
	})
}

// TestAffinityEnds: clients that come back in time find their endpoint; those
// that come later get any.
func TestAffinityEnds(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		svc := sticky(stickySpec)
		eachFamily(t, svc, func(t *testing.T, vip netip.AddrPort, first netip.Addr) {
			t.Parallel()
			const (
				every  = 50 * time.Millisecond
				many   = 120 // one comes back every 50 ms: 6 s in all
				margin = 300 * time.Millisecond
			)
			all, where := clients(first, many)
			for _, e := range svc.endpoints {
				where[e] = answersHere
			}
			s := newScene(t, variant, where, []netip.Addr{vip.Addr()})
			s.serve(t, parseObjects(t, svc.String()))
			s.listen(t, "tcp", svc.endpoints)

			asked := time.Now()
			got := map[netip.Addr]netip.Addr{}
			for _, client := range all {
				got[client] = s.ask(t, "tcp", client, vip)
			}
			all = all[1:] // the first comes back again and again, and stays
			tick := time.NewTicker(every)
			defer tick.Stop()
			early, moved := 0, false
			for !moved && len(all) > 0 {
				<-tick.C
				if have := s.ask(t, "tcp", first, vip); have != got[first] {
					t.Fatalf("a client that comes back all the time had %s, and now %s", got[first], have)
				}
				client := all[0]
				all = all[1:]
				have := s.ask(t, "tcp", client, vip)
				switch passed := time.Since(asked); {
				case passed < stickyTimeout-margin:
					early++
					if have != got[client] {
						t.Errorf("after at most %s the client had %s, and now %s", passed, got[client], have)
					}
				default:
					moved = have != got[client]
				}
			}
			if early == 0 {
				t.Error("no client came back in time: this says nothing")
			}
			if !moved {
				t.Errorf("no client has moved to another endpoint after %s", time.Since(asked))
			}
		})
	})
}
