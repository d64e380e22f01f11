package main

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestARefusalIsAnEventOnce(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	e := eventReporter{recorder: recorder, node: "node1"}
	store := clustergen.Uniform(3, 1)
	state := proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4))
	target := state.Services[1].Targets[0]
	report := proxier.Report{
		Family: proxier.IPv4, Dataplane: "iptables", State: state,
		Refused: []proxier.Refusal{{Target: target, Err: errors.New("no such match")}},
	}
	next := func() string {
		select {
		case event := <-recorder.Events:
			return event
		default:
			return ""
		}
	}
	e.Synced(report)
	got := next()
	for _, part := range []string{"Warning", "RulesRefused", target.Name.String(), "IPv4", "node1", "no such match"} {
		if !strings.Contains(got, part) {
			t.Errorf("event %q does not hold %q", got, part)
		}
	}
	e.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "another", State: state})
	e.Synced(report)
	if got := next(); got != "" {
		t.Errorf("the same refusal is told again: %q", got)
	}
	e.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state})
	e.Synced(report)
	if next() == "" {
		t.Error("a refusal that had ended and came back is not told")
	}
}

// In IPVS mode each pass has two reports of rules, and one of them is empty.
func TestARefusalInOneTurnIsAnEventOnce(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	all := reporters{&eventReporter{recorder: recorder, node: "node1"}}
	state := proxier.Build(nil, clustergen.Uniform(3, 1).Snapshot(), clustergen.Options(proxier.IPv4))
	rules := proxier.Report{
		Family: proxier.IPv4, Dataplane: "iptables", State: state,
		Refused: []proxier.Refusal{{Target: state.Services[1].Targets[0], Err: errors.New("no such match")}},
	}
	other := proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state, Plan: mode.OtherTurn{}}
	for range 3 {
		all.Synced(rules)
		all.Synced(other)
	}
	if n := len(recorder.Events); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestAProblemOfTheNodeIsToldOnce(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	e := eventReporter{recorder: recorder, node: "node1"}
	state := proxier.Build(nil, clustergen.Uniform(2, 1).Snapshot(), clustergen.Options(proxier.IPv4))
	name := state.Services[1].Targets[0].Name
	found := proxier.Problem{
		Kind: "Service", Namespace: name.Namespace, Name: name.Name, Field: "spec.externalIPs", Value: "192.0.2.1", Reason: "is the node's",
	}
	unknown := found
	unknown.Name = "nobody"
	synced := func(problems ...proxier.Problem) (events []string) {
		report := proxier.Report{Family: proxier.IPv4, Dataplane: "addresses", State: state, Plan: mode.OtherTurn{}, Findings: proxier.Findings{Problems: problems}}
		e.Synced(report)
		for len(recorder.Events) > 0 {
			events = append(events, <-recorder.Events)
		}
		return events
	}
	got := synced(found, unknown)
	if len(got) != 1 {
		t.Fatalf("got events %q, want one", got)
	}
	for _, part := range []string{"Warning", "NodeDiffers", name.Name, "192.0.2.1", "node1", "is the node's"} {
		if !strings.Contains(got[0], part) {
			t.Errorf("event %q does not hold %q", got[0], part)
		}
	}
	if got := synced(found); len(got) > 0 {
		t.Errorf("the same problem is told again: %q", got)
	}
	synced()
	if got := synced(found); len(got) != 1 {
		t.Errorf("a problem that came back is told so: %q", got)
	}
}

func TestALossIsAnEventOfTheNode(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	e := eventReporter{recorder: recorder, node: "node1"}
	state := proxier.Build(nil, clustergen.Uniform(2, 1).Snapshot(), clustergen.Options(proxier.IPv6))
	e.Synced(proxier.Report{
		Family: proxier.IPv6, Dataplane: "iptables", State: state, Err: errors.New("is told even so"),
		Loss: &proxier.Loss{Before: 812, Left: 3},
	})
	if len(recorder.Events) != 1 {
		t.Fatalf("got %d events, want one", len(recorder.Events))
	}
	got := <-recorder.Events
	for _, part := range []string{"Warning", "ServicesLost", "812", "3", "IPv6"} {
		if !strings.Contains(got, part) {
			t.Errorf("event %q does not hold %q", got, part)
		}
	}
}

// A sink keeps the notes of events as they are written.
type sink chan string

func (s sink) Create(e *corev1.Event) (*corev1.Event, error) {
	s <- e.Message
	return e, nil
}

func (s sink) Update(e *corev1.Event) (*corev1.Event, error) { return e, nil }

func (s sink) Patch(e *corev1.Event, _ []byte) (*corev1.Event, error) {
	s <- "again: " + e.Message
	return e, nil
}

// client-go merges what it takes for the same event.
func TestEachRefusalOfAServiceIsAnEvent(t *testing.T) {
	written := make(sink, 10)
	e := eventReporter{recorder: startEvents(t.Context(), written, "node1"), node: "node1"}
	store := clustergen.Uniform(1, 1)
	for _, family := range proxier.Families {
		state := proxier.Build(nil, store.Snapshot(), clustergen.Options(family))
		one := state.Services[0].Targets[0]
		port := *one.ServicePort
		port.Name.Protocol = corev1.ProtocolSCTP
		e.Synced(proxier.Report{
			Family: family, Dataplane: "iptables", State: state,
			Refused: []proxier.Refusal{{Target: one}, {Target: &proxier.Target{ServicePort: &port}}},
		})
		for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolSCTP} {
			got := <-written
			for _, part := range []string{"ns-0/service-0:http", string(family), string(protocol)} {
				if strings.HasPrefix(got, "again") || !strings.Contains(got, part) {
					t.Errorf("the event %q is not a new one that says %q", got, part)
				}
			}
		}
	}
}

// toldProblems returns a pass that changes one endpoint, where most of so many
// Services have a problem on this node, which was told before.
func toldProblems(services int) (pass func()) {
	store := clustergen.Uniform(services, 1)
	e := eventReporter{recorder: &record.FakeRecorder{}, node: "node1"}
	var problems []proxier.Problem
	for _, s := range store.Snapshot().Services[:services*9/10] {
		problems = append(problems, proxier.Problem{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name, Reason: "is the node's"})
	}
	var states []*proxier.State
	for n := range 2 {
		store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 1, n))
		states = append(states, proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4)))
	}
	n := 0
	pass = func() {
		n++
		e.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "ipvs", State: states[n%2], Plan: mode.OtherTurn{}, Findings: proxier.Findings{Problems: problems}})
	}
	pass()
	return pass
}

func TestProblemsThatWereToldMakeNoWork(t *testing.T) {
	pass := toldProblems(100)
	if n := testing.AllocsPerRun(10, pass); n > 2 { // the report's own
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkProblemsThatWereTold(b *testing.B) {
	pass := toldProblems(10_000)
	b.ReportAllocs()
	for b.Loop() {
		pass()
	}
}
