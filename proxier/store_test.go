package proxier

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func testService(ns, name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

func testSlice(ns, name, service string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: ns, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
	}}
}

func names(s *Snapshot) []string {
	var out []string
	for _, o := range s.Services {
		entry := o.Name.String()
		for _, slice := range o.Slices {
			entry += " " + slice.Name
		}
		if o.Service == nil {
			entry += " (no Service)"
		}
		out = append(out, entry)
	}
	return out
}

func TestStoreKeepsSnapshotsSortedAndShared(t *testing.T) {
	s := NewStore()
	s.SetService(testService("b", "web"))
	s.SetService(testService("a", "web"))
	s.SetEndpointSlice(testSlice("a", "web-2", "web"))
	s.SetEndpointSlice(testSlice("a", "web-1", "web"))
	s.SetEndpointSlice(testSlice("a", "early", "later"))
	first := s.Snapshot()
	if got, want := names(first), []string{"a/later early (no Service)", "a/web web-1 web-2", "b/web"}; !slices.Equal(got, want) {
		t.Fatalf("first snapshot: %q, want %q", got, want)
	}
	s.DeleteEndpointSlice(types.NamespacedName{Namespace: "a", Name: "web-1"})
	s.DeleteEndpointSlice(types.NamespacedName{Namespace: "a", Name: "early"})
	second := s.Snapshot()
	if got, want := names(second), []string{"a/web web-2", "b/web"}; !slices.Equal(got, want) {
		t.Errorf("second snapshot: %q, want %q", got, want)
	}
	if second.Services[1] != first.Services[2] {
		t.Error("b/web did not change and is not shared")
	}
	if got := names(first)[1]; got != "a/web web-1 web-2" {
		t.Errorf("the first snapshot changed: %q", got)
	}
}

func TestStoreMovesSliceToAnotherService(t *testing.T) {
	s := NewStore()
	s.SetEndpointSlice(testSlice("a", "x", "one"))
	s.SetEndpointSlice(testSlice("a", "x", "two"))
	if got, want := names(s.Snapshot()), []string{"a/two x (no Service)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.SetEndpointSlice(testSlice("a", "x", ""))
	if got := names(s.Snapshot()); len(got) != 0 {
		t.Errorf("a slice without Service is still there: %q", got)
	}
}

func TestStoreWakesOnlyForChangesThatMatter(t *testing.T) {
	s := NewStore()
	wake := s.Watch()
	woken := func() bool {
		select {
		case <-wake:
			return true
		default:
			return false
		}
	}
	s.SetService(testService("a", "web"))
	if woken() {
		t.Error("woken before the store has synced")
	}
	s.SetSynced()
	if !woken() {
		t.Error("not woken by SetSynced")
	}
	annotated := testService("a", "web")
	annotated.Annotations = map[string]string{"x": "y"}
	s.SetService(annotated)
	s.DeleteService(types.NamespacedName{Namespace: "a", Name: "unknown"})
	if woken() {
		t.Error("woken by an annotation, or by deleting what is not there")
	}
	labelled := testService("a", "web")
	labelled.Labels = map[string]string{ServiceProxyNameLabel: ""}
	s.SetService(labelled)
	if !woken() {
		t.Error("not woken by the label that gives the Service to another proxy")
	}
}

// How long a change took is measured, also of one that changes nothing here.
func TestStoreTellsOfANewTrigger(t *testing.T) {
	triggered := func(at string) *discoveryv1.EndpointSlice {
		slice := testSlice("a", "web-1", "web")
		slice.AddressType = discoveryv1.AddressTypeIPv4
		slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.1.0.1"}}}
		if at != "" {
			slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: at}
		}
		return slice
	}
	const first, second = "2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z"
	s := NewStore()
	s.SetService(testService("a", "web"))
	s.SetEndpointSlice(triggered(first))
	s.SetSynced()
	wake := s.Watch()
	<-wake
	before := s.Changes()
	for _, step := range []struct {
		name, trigger, want string
		told                bool
	}{
		{"the same", first, first, false},
		{"a new one", second, second, true},
		{"none", "", second, false},
	} {
		s.SetEndpointSlice(triggered(step.trigger))
		told := false
		select {
		case <-wake:
			told = true
		default:
		}
		slice := s.Snapshot().Services[0].Slices[0]
		if got := slice.Trigger.Format(time.RFC3339); told != step.told || got != step.want {
			t.Errorf("%s: told %v, trigger %s; want %v, %s", step.name, told, got, step.told, step.want)
		}
		if got := s.Changes(); got != before {
			t.Errorf("%s counts as a change of what is served: %+v, before %+v", step.name, got, before)
		}
	}
}

func TestStoreMergesLikeASort(t *testing.T) {
	s, r := NewStore(), rand.New(rand.NewPCG(1, 2))
	want := map[string]bool{}
	for range 2000 {
		name := fmt.Sprintf("s%03d", r.IntN(300))
		if r.IntN(3) == 0 {
			s.DeleteService(types.NamespacedName{Namespace: "n", Name: name})
			delete(want, "n/"+name)
		} else {
			s.SetService(testService("n", name))
			want["n/"+name] = true
		}
		if r.IntN(5) > 0 {
			continue
		}
		got := names(s.Snapshot())
		if len(got) != len(want) || !slices.IsSorted(got) {
			t.Fatalf("%d names, sorted %v; want %d", len(got), slices.IsSorted(got), len(want))
		}
		for _, name := range got {
			if !want[name] {
				t.Fatalf("%s was deleted", name)
			}
		}
	}
}

// A Node object that is made anew has no addresses at first. The node has them all
// the same, and node ports at primary ones must not open everywhere.
func TestStoreKeepsAddressesThatANodeObjectLacks(t *testing.T) {
	const internal, external = corev1.NodeInternalIP, corev1.NodeExternalIP
	type addresses = []corev1.NodeAddress
	v4, v6 := corev1.NodeAddress{Type: internal, Address: "192.0.2.1"}, corev1.NodeAddress{Type: internal, Address: "2001:db8::1"}
	other4, other6 := corev1.NodeAddress{Type: external, Address: "192.0.2.7"}, corev1.NodeAddress{Type: internal, Address: "2001:db8::7"}
	hostname := corev1.NodeAddress{Type: corev1.NodeHostName, Address: "192.0.2.99"}
	for name, test := range map[string]struct {
		objects []addresses
		want    []string
	}{
		"none from the beginning":      {[]addresses{nil, {hostname}}, nil},
		"the first":                    {[]addresses{nil, {v4, v6}}, []string{"192.0.2.1", "2001:db8::1"}},
		"all gone":                     {[]addresses{{v4, v6}, nil}, []string{"192.0.2.1", "2001:db8::1"}},
		"all gone, and once more":      {[]addresses{{v6, v4}, {hostname}, nil}, []string{"2001:db8::1", "192.0.2.1"}},
		"all others":                   {[]addresses{{v4, v6}, {other6, other4}}, []string{"2001:db8::7", "192.0.2.7"}},
		"one family gone":              {[]addresses{{v4, v6}, {v6}}, []string{"2001:db8::1", "192.0.2.1"}},
		"one gone, the other changed":  {[]addresses{{v4, v6}, {other6}}, []string{"2001:db8::7", "192.0.2.1"}},
		"one after the other is there": {[]addresses{{v4}, nil, {v6}, {other4}}, []string{"2001:db8::1", "192.0.2.7"}},
		"what cannot be read is none":  {[]addresses{{v4}, {{Type: internal, Address: "here"}}}, []string{"192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := NewStore()
			for i, a := range test.objects {
				s.SetNode(&corev1.Node{
					ObjectMeta: metav1.ObjectMeta{Name: "node1", Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprint(i)}},
					Status:     corev1.NodeStatus{Addresses: a},
				})
				if i == 0 {
					s.DeleteNode() // what follows is made anew
				}
			}
			facts := NodeFacts("node1", s.Snapshot().Node, netip.Addr{})
			var got []string
			for _, ip := range facts.IPs {
				got = append(got, ip.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("addresses %q, want %q", got, test.want)
			}
			if want := fmt.Sprint(len(test.objects) - 1); facts.Zone != want {
				t.Errorf("zone %s, want %s: it is that of the last object", facts.Zone, want)
			}
		})
	}
}
