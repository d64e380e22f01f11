package ipvstests

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Somebody else writes between the Plan and the Apply of a dataplane. It is healed
// in that pass or by the next one, and an error says what it is about.
func TestOthersWriteInTheMiddleOfAPass(t *testing.T) {
	s := newStage(t, []string{"asker", "pod-a", "pod-b"}, nil, settings{drainTimeout: time.Nanosecond})
	before := []service{{name: "web", number: 10, endpoints: s.on("pod-a")}}
	after := []service{{name: "web", number: 10, endpoints: s.on("pod-b")}, {name: "also", number: 11, endpoints: s.on("pod-a", "pod-b")}}
	cases := []struct {
		name, dataplane string
		// what others do, as commands
		do string
		// err is what the error of the pass names; empty if it has none.
		err string
		// told is whether the pass cannot see all of it, and sentries have to tell.
		told bool
	}{
		{name: "a set is there, of another type", dataplane: "ipset", do: "ipset create KUBE-CLUSTER-IP bitmap:port range 0-65535", err: "KUBE-CLUSTER-IP: a set of this name exists"},
		{
			name: "sets are destroyed, and the rules that looked into them", dataplane: "ipset",
			do:  "iptables -t nat -F; iptables -F; for s in $(ipset list -n | grep -v KUBE-6-); do until ipset destroy $s; do :; done; done",
			err: "ipset add KUBE-", told: true,
		},
		{name: "a virtual server is gone", dataplane: "ipvs", do: "ipvsadm -D -t 10.96.0.10:80"},
		{name: "all virtual servers are gone", dataplane: "ipvs", do: "ipvsadm -C", told: true},
		{name: "a virtual server is there", dataplane: "ipvs", do: "ipvsadm -A -t 10.96.0.11:80 -s sh -p 60"},
		{name: "a real server is there", dataplane: "ipvs", do: "ipvsadm -a -t 10.96.0.10:80 -r POD-B:8080 -m -w 7"},
		{name: "a real server is gone", dataplane: "ipvs", do: "ipvsadm -d -t 10.96.0.10:80 -r POD-A:8080"},
		{name: "an address is there", dataplane: "addresses", do: "ip address add 10.96.0.11/32 dev kube-ipvs0"},
		{name: "the device is gone", dataplane: "addresses", do: "ip link delete kube-ipvs0", err: "device kube-ipvs0", told: true},
	}
	pods := strings.NewReplacer("POD-A", s.hosts["pod-a"].Addr4().String(), "POD-B", s.hosts["pod-b"].Addr4().String())
	m := &meddler{}
	p := s.proxies[proxier.IPv4]
	for i, d := range p.reconciler.Dataplanes {
		p.reconciler.Dataplanes[i] = meddled{d, m}
	}
	for i, c := range cases {
		if i > 0 { // the first meets a kernel that has nothing yet
			s.serve(t, before...)
			s.sync(t) // what drained is out of time
		}
		fill(t, s.store, s.served, after)
		s.served = after
		m.dataplane, m.do = c.dataplane, func() {
			s.feed(t, "", "sh", "-c", pods.Replace(c.do))
		}
		err := p.node.Do(func() error { return p.reconciler.Sync(t.Context()) })
		switch {
		case m.do != nil:
			t.Fatalf("%s: dataplane %s had nothing to do", c.name, c.dataplane)
		case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: the pass says %v, want %q", c.name, err, c.err)
		}
		if c.told {
			for _, all := range s.proxies {
				all.forget()
			}
		}
		s.sync(t)
		s.sync(t)
		s.settled(t)
		for _, number := range []int{10, 11} {
			if have := s.outcome(t, "asker", "tcp", s.addressOf(proxier.IPv4, "cluster", number)); !strings.HasPrefix(have, "pod-") {
				t.Errorf("%s: Service %d is %s", c.name, number, have)
			}
		}
	}
}

// A meddler does something once, before a dataplane's plan is applied.
type meddler struct {
	dataplane string
	do        func()
}

// meddled is a dataplane with a meddler.
type meddled struct {
	proxier.Dataplane

	meddler *meddler
}

func (d meddled) Plan(ctx context.Context, state *proxier.State) (proxier.Plan, error) {
	plan, err := d.Dataplane.Plan(ctx, state)
	if err != nil || plan.Empty() || d.meddler.dataplane != d.Name() {
		return plan, err
	}
	return meddledPlan{plan, d.meddler}, nil
}

type meddledPlan struct {
	proxier.Plan

	meddler *meddler
}

func (p meddledPlan) Apply(ctx context.Context) ([]proxier.Refusal, error) {
	if p.meddler.do != nil {
		p.meddler.do()
		p.meddler.do = nil
	}
	return p.Plan.Apply(ctx)
}

// Somebody else writes virtual servers all the time, while they are listed and
// while they are written. No listing fails or has one twice; and when it is over,
// one pass has all as it should be.
func TestOthersWriteVirtualServersAllTheTime(t *testing.T) {
	s := newStage(t, []string{"asker", "pod-a", "pod-b"}, nil, settings{drainTimeout: time.Nanosecond})
	one := service{name: "web", number: 10, endpoints: s.on("pod-a")}
	two := service{name: "web", number: 10, endpoints: s.on("pod-a", "pod-b")}
	s.serve(t, one)
	p := s.proxies[proxier.IPv4]
	for i := range 6 {
		wanted := []service{one}
		if i%2 == 0 {
			wanted = []service{two, {name: "also", number: 11, endpoints: s.on("pod-b")}}
		}
		fill(t, s.store, s.served, wanted)
		s.served = wanted
		stop := s.writeAtRandom(t, uint64(i))
		p.forget()
		// The pass may give up where others do not: it says so then.
		err := p.node.Do(func() error { return p.reconciler.Sync(t.Context()) })
		if err != nil && !strings.Contains(err.Error(), "ipvs: ") {
			t.Errorf("pass %d: %v", i, err)
		}
		list, listErr := p.kernel.List(t.Context())
		stop()
		if listErr != nil {
			t.Fatal(listErr)
		}
		for j, v := range list.Servers {
			if j > 0 && list.Servers[j-1].Place == v.Place {
				t.Errorf("pass %d: %s is listed twice", i, v.Place)
			}
		}
		p.forget()
		s.sync(t)
		s.sync(t)
		s.settled(t)
	}
	if have := s.outcome(t, "asker", "tcp", s.addressOf(proxier.IPv4, "cluster", 10)); !strings.HasPrefix(have, "pod-") {
		t.Errorf("in the end the Service is %s", have)
	}
}

// writeAtRandom starts to make and delete virtual and real servers at the places of
// Services. stop waits for its end; it has made at least one change.
func (s *stage) writeAtRandom(t *testing.T, seed uint64) (stop func()) {
	t.Helper()
	var kernel *ipvs.Netlink
	err := s.node.Do(func() (err error) {
		kernel, err = ipvs.Open(proxier.IPv4)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	begun := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		defer kernel.Close()
		r := rand.New(rand.NewPCG(seed, 1))
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = kernel.Do(ctx, []ipvs.Op{s.randomOp(r)}) // EEXIST and the like are of no interest
			if n == 10 {
				close(begun)
			}
		}
	})
	<-begun
	return func() { cancel(); writing.Wait() }
}

func (s *stage) randomOp(r *rand.Rand) ipvs.Op {
	place := ipvs.Place{Protocol: "TCP", Addr: s.addressOf(proxier.IPv4, []string{"cluster", "lb", "nodeport"}[r.IntN(3)], 10+r.IntN(2))}
	pod := s.hosts[[]string{"pod-a", "pod-b", "asker"}[r.IntN(3)]]
	return ipvs.Op{
		Kind: []ipvs.OpKind{ipvs.NewService, ipvs.DeleteService, ipvs.NewServer, ipvs.DeleteServer}[r.IntN(4)], Place: place,
		Settings: ipvs.Settings{Scheduler: "rr"},
		Server:   ipvs.RealServer{Addr: netip.AddrPortFrom(own(pod, proxier.IPv4), 8080), Weight: 1, Forwarding: ipvs.Masquerade},
	}
}
