package conntrack_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/conntrack/conntracktest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func plan(t testing.TB, d *conntrack.Dataplane, state *proxier.State) proxier.Plan {
	t.Helper()
	p, err := d.Plan(context.Background(), state)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, d *conntrack.Dataplane, state *proxier.State) {
	t.Helper()
	if _, err := plan(t, d, state).Apply(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func tracked(flows ...conntrack.Flow) *conntracktest.Kernel {
	k := &conntracktest.Kernel{}
	for _, f := range flows {
		k.Track(f)
	}
	return k
}

// What IPVS has sent on nobody sends on in another mode: it begins anew.
func TestFlowsOfIPVSGoInAnotherMode(t *testing.T) {
	virtual := flow(vip4+":53", "10.244.2.7:5353")
	virtual.Virtual = true
	ruled, elsewhere, tcp := port(4001, flow(vip4+":53", "10.244.2.7:5353")), flow("192.0.2.1:53", "10.244.2.7:5353"), port(4002, virtual)
	elsewhere.Virtual, tcp.Protocol = true, 6
	s := state(service(), slice(proxier.IPv4, "10.244.2.7"))
	kernel := tracked(virtual, ruled, elsewhere, tcp)
	if p := plan(t, conntrack.NewDataplane(kernel), s); !p.Empty() {
		t.Errorf("in IPVS mode these go:\n%s", p)
	}
	p := plan(t, conntrack.NewDataplane(kernel).WithoutIPVS(), s)
	if !strings.Contains(p.String(), " # sent on by IPVS before the mode changed\n") {
		t.Errorf("the plan is\n%s", p)
	}
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tracked(ruled, elsewhere, tcp).String(), kernel.String()); diff != "" {
		t.Errorf("tracked afterwards (-want +got):\n%s", diff)
	}
}

// port is the flow from another port of the client.
func port(n uint16, f conntrack.Flow) conntrack.Flow {
	src := netipPort(f.Original.Src, n)
	f.Original.Src, f.Reply.Dst = src, src
	return f
}

func TestOneApplyReachesTheFixpoint(t *testing.T) {
	stale, healthy := flow(vip4+":53", "10.244.2.7:5353"), port(4001, flow(vip4+":53", "10.244.2.8:5353"))
	tcp := flow(vip4+":53", "10.244.2.7:5353")
	tcp.Protocol = 6
	kernel := tracked(stale, healthy, tcp)
	d := conntrack.NewDataplane(kernel)
	s := state(service(), slice(proxier.IPv4, "10.244.2.8"))

	p := plan(t, d, s)
	if p.Empty() || p.Summary() != (proxier.Summary{Flows: 1}) {
		t.Errorf("the plan counts %+v, want 1 flow", p.Summary())
	}
	wantText := "conntrack -D -f ipv4 -p udp -s 10.244.1.7 -d 10.96.0.10 --sport 4000 --dport 53 -r 10.244.2.7 -q 10.244.1.7 --reply-port-src 5353 --reply-port-dst 4000 # not answered by a serving endpoint\n"
	if diff := cmp.Diff(wantText, p.String()); diff != "" {
		t.Errorf("the plan (-want +got):\n%s", diff)
	}
	wantDiff := "--- kernel conntrack\n+++ wanted conntrack\n@@ -1,1 +0,0 @@\n" +
		"-udp src=10.244.1.7 dst=10.96.0.10 sport=4000 dport=53 src=10.244.2.7 dst=10.244.1.7 sport=5353 dport=4000 # not answered by a serving endpoint\n"
	if diff := cmp.Diff(wantDiff, p.Diff()); diff != "" {
		t.Errorf("the difference (-want +got):\n%s", diff)
	}
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tracked(healthy, tcp).String(), kernel.String()); diff != "" {
		t.Errorf("tracked afterwards (-want +got):\n%s", diff)
	}
	d.Forget()
	if p := plan(t, d, s); !p.Empty() {
		t.Errorf("a second pass would delete\n%s", p)
	}
}

func TestTheTableIsReadOnlyWhenSomethingOfUDPChanged(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"))
	d := conntrack.NewDataplane(kernel)
	store := cluster(service(), slice(proxier.IPv4, "10.244.2.8"))
	s := build(store, nil)
	apply(t, d, s)
	count(t, "readings after the first pass", kernel.Reads(), 1)
	for range 3 {
		s = build(store, s)
		apply(t, d, s)
	}
	count(t, "readings after passes without a change", kernel.Reads(), 1)
	if looked(t, plan(t, d, s)) {
		t.Error("a plan without a reading says that it has looked")
	}
	d.Forget()
	if p := plan(t, d, s); !looked(t, p) || !p.Empty() {
		t.Error("a plan that found nothing does not say that it has looked")
	}
	count(t, "readings after Forget", kernel.Reads(), 2)
	store.DeleteService(dns)
	s = build(store, s)
	apply(t, d, s)
	apply(t, d, s)
	count(t, "readings after the Service is gone", kernel.Reads(), 3)
	count(t, "deletions", kernel.Deletes(), 1)
}

func looked(t *testing.T, p proxier.Plan) bool {
	t.Helper()
	return !p.Findings().Remembered
}

// A family that the cluster does not have costs no look at a table that may be large.
func TestTheTableIsNotReadWhereNothingIsServedOverUDP(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"))
	d := conntrack.NewDataplane(kernel)
	nothing := state(nil)
	for range 2 {
		apply(t, d, nothing)
		d.Forget()
	}
	count(t, "readings", kernel.Reads(), 0)
	apply(t, d, state(service(), slice(proxier.IPv4, "10.244.2.7")))
	count(t, "readings after there is a Service", kernel.Reads(), 1)
	for range 3 {
		apply(t, d, nothing)
		d.Forget()
	}
	count(t, "readings after it is gone, one for what it left", kernel.Reads(), 2)
	count(t, "deletions", kernel.Deletes(), 1)
}

func TestAPlanThatWasNotAppliedIsMadeAgain(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"))
	d := conntrack.NewDataplane(kernel)
	s := state(service())
	for range 2 {
		if plan(t, d, s).Empty() {
			t.Error("the plan of a dry run is empty the second time, though nothing was deleted")
		}
	}
	count(t, "deletions", kernel.Deletes(), 0)
}

func TestADeletedServiceLeavesNoFlow(t *testing.T) {
	first, second := flow(vip4+":53", "10.244.2.7:5353"), flow(vip4+":53", "10.244.2.8:5353")
	kernel := tracked(first)
	d := conntrack.NewDataplane(kernel)
	apply(t, d, state(service(), slice(proxier.IPv4, "10.244.2.7")))
	kernel.FailRead = func(int) error { return errors.New("no buffer space") }
	// The Service goes and comes while the table cannot be read.
	for _, s := range []*proxier.State{state(nil), state(service(exposed), slice(proxier.IPv4, "10.244.2.8")), state(nil)} {
		if _, err := d.Plan(t.Context(), s); err == nil {
			t.Fatal("no error")
		}
	}
	kernel.Track(second)
	kernel.Track(port(4001, flow(nodeIP4+":30053", "10.244.2.8:5353")))
	kernel.Track(port(4002, flow(balancer+":53", "10.244.2.8:5353")))
	kernel.FailRead = nil
	apply(t, d, state(nil))
	if left := kernel.String(); left != "" {
		t.Errorf("these flows to what is no longer served are left:\n%s", left)
	}
	// What somebody else does with the addresses later is his.
	kernel.Track(first)
	d.Forget()
	if p := plan(t, d, state(nil)); !p.Empty() {
		t.Errorf("it is still deleted when it is nobody's any more:\n%s", p)
	}
}

func TestARestartDeletesNothingHealthy(t *testing.T) {
	kernel := tracked(
		flow(vip4+":53", "10.244.2.7:5353"), port(4001, flow(external+":53", "10.244.2.7:5353")),
		port(4002, flow(nodeIP4+":30053", "10.244.2.7:5353")), port(4003, flow("10.96.9.9:53", "10.244.2.7:5353")),
	)
	before := kernel.String()
	for range 2 {
		apply(t, conntrack.NewDataplane(kernel), state(service(exposed), slice(proxier.IPv4, "10.244.2.7")))
	}
	if diff := cmp.Diff(before, kernel.String()); diff != "" {
		t.Errorf("tracked after restarts (-want +got):\n%s", diff)
	}
}

func TestAnInterruptedReadingIsBegunAnew(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"), port(4001, flow(vip4+":53", "10.244.2.7:5353")))
	kernel.Interrupt = func(n int) bool { return n < 5 }
	d := conntrack.NewDataplane(kernel)
	apply(t, d, state(service()))
	count(t, "readings", kernel.Reads(), 5)
	if left := kernel.String(); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

func TestAReadingThatIsAlwaysInterruptedDeletesWhatItFoundAndSaysSo(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"), port(4001, flow(vip4+":53", "10.244.2.7:5353")))
	kernel.Interrupt = func(int) bool { return true }
	d := conntrack.NewDataplane(kernel)
	p := plan(t, d, state(service()))
	count(t, "readings", kernel.Reads(), 5)
	count(t, "flows found in half of the table", p.Summary().Flows, 1)
	if _, err := p.Apply(t.Context()); !errors.Is(err, conntrack.ErrInterrupted) {
		t.Errorf("the error is %v, want that the table changed", err)
	}
	count(t, "flows left", strings.Count(kernel.String(), "\n"), 1)
	kernel.Interrupt = nil
	apply(t, d, state(service()))
	count(t, "flows left after the next pass", strings.Count(kernel.String(), "\n"), 0)
}

func TestADeletionThatFailsIsDoneAgain(t *testing.T) {
	kernel := &conntracktest.Kernel{}
	for n := range uint16(10) {
		kernel.Track(port(5000+n, flow(vip4+":53", "10.244.2.7:5353")))
	}
	broken := errors.New("operation not permitted")
	kernel.FailDelete = func(n int) error {
		if n == 1 {
			return broken
		}
		return nil
	}
	d := conntrack.NewDataplane(kernel)
	s := state(service())
	if _, err := plan(t, d, s).Apply(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("the error is %v", err)
	}
	p := plan(t, d, s)
	count(t, "flows of the next plan", p.Summary().Flows, 5)
	apply(t, d, s)
	if left := kernel.String(); left != "" {
		t.Errorf("left:\n%s", left)
	}
}

func TestAFlowThatBeganAnewIsNotDeleted(t *testing.T) {
	kernel := tracked(flow(vip4+":53", "10.244.2.7:5353"))
	d := conntrack.NewDataplane(kernel)
	p := plan(t, d, state(service(), slice(proxier.IPv4, "10.244.2.8")))
	kernel.Track(flow(vip4+":53", "10.244.2.8:5353")) // the old one timed out meanwhile
	before := kernel.String()
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, kernel.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMoreThanAPlanMayHaveIsDoneInParts(t *testing.T) {
	kernel := &conntracktest.Kernel{}
	const flows = conntrack.MaxFlows + 1000
	for n := range flows {
		f := flow(fmt.Sprintf("%s:53", vip4), "10.244.2.7:5353")
		f.Zone = uint16(n / 60000)
		kernel.Track(port(uint16(n%60000), f))
	}
	d := conntrack.NewDataplane(kernel)
	s := state(service())
	p := plan(t, d, s)
	if want := (proxier.Summary{Flows: conntrack.MaxFlows, More: true}); p.Summary() != want {
		t.Errorf("the first plan is %+v, want %+v", p.Summary(), want)
	}
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p = plan(t, d, s); p.Summary() != (proxier.Summary{Flows: 1000}) {
		t.Errorf("the second plan is %+v, want the rest", p.Summary())
	}
}

// An endpoint that is new gets its first packet while the table is read for the
// State before it.
func TestAFlowOfTheNextStateIsLeftAlone(t *testing.T) {
	gone, fresh := flow(vip4+":53", "10.244.2.9:5353"), port(4001, flow(vip4+":53", "10.244.2.8:5353"))
	kernel := tracked(gone, fresh)
	d := conntrack.NewDataplane(kernel)
	store := cluster(service(), slice(proxier.IPv4, "10.244.2.7"))
	first := build(store, nil)
	p := plan(t, d, first)
	count(t, "flows that contradict the first State", p.Summary().Flows, 2)
	store.SetEndpointSlice(slice(proxier.IPv4, "10.244.2.7", "10.244.2.8"))
	next := build(store, first)
	d.Anticipate(next)
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tracked(fresh).String(), kernel.String()); diff != "" {
		t.Errorf("tracked afterwards (-want +got):\n%s", diff)
	}
	// What comes after it may still take its endpoint away.
	store.SetEndpointSlice(slice(proxier.IPv4, "10.244.2.7"))
	d.Anticipate(build(store, next))
	apply(t, d, build(store, next))
	count(t, "flows left", strings.Count(kernel.String(), "\n"), 0)
}

func TestAReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	kernel := &conntracktest.Kernel{Strangers: 1_000_000}
	if _, err := conntrack.NewDataplane(kernel).Plan(ctx, state(service())); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that the context ended", err)
	}
}

// A million flows that concern nobody: what one reading costs beside the
// kernel's own work.
func BenchmarkAMillionForeignFlows(b *testing.B) {
	for _, services := range []int{1, 10_000} {
		b.Run(fmt.Sprint("services=", services), func(b *testing.B) {
			kernel := &conntracktest.Kernel{Strangers: 1_000_000}
			s := build(many(services), nil)
			d := conntrack.NewDataplane(kernel)
			apply(b, d, s)
			b.ReportAllocs()
			for b.Loop() {
				d.Forget()
				apply(b, d, s)
			}
		})
	}
}

// What a pass costs that has nothing to do with UDP.
func BenchmarkAPassWithoutChange(b *testing.B) {
	s := build(many(10_000), nil)
	d := conntrack.NewDataplane(&conntracktest.Kernel{})
	apply(b, d, s)
	b.ReportAllocs()
	for b.Loop() {
		apply(b, d, s)
	}
}
