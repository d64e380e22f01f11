package metrics

import (
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// start is that of the process.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// slice has a trigger so many minutes after the start; 0 for none.
func slice(name string, minutes int) *proxier.EndpointSlice {
	s := &proxier.EndpointSlice{Name: name, Family: proxier.IPv4}
	if minutes != 0 {
		s.Trigger = start.Add(time.Duration(minutes) * time.Minute)
	}
	return s
}

func service(name string, slices ...*proxier.EndpointSlice) *proxier.Service {
	return &proxier.Service{Objects: &proxier.ServiceObjects{Name: types.NamespacedName{Namespace: "shop", Name: name}, Slices: slices}}
}

func TestTriggers(t *testing.T) {
	other := slice("x", 1)
	other.Family = proxier.IPv6
	web := service("web", slice("a", 1), slice("b", 2))
	for _, c := range []struct {
		name   string
		states [][]*proxier.Service
		want   []int // minutes after the start
	}{
		{"what is there at the start does not count", [][]*proxier.Service{{web}}, nil},
		{"nothing changes", [][]*proxier.Service{{web}, {web}}, nil},
		{"a slice changes", [][]*proxier.Service{{web}, {service("web", slice("a", 1), slice("b", 3))}}, []int{3}},
		{"a slice comes", [][]*proxier.Service{{web}, {service("web", slice("a", 1), slice("aa", 4), slice("b", 2))}}, []int{4}},
		{"a slice goes", [][]*proxier.Service{{web}, {service("web", slice("b", 2))}}, nil},
		{"a Service comes before another", [][]*proxier.Service{{web}, {service("db", slice("c", 5)), web}}, []int{5}},
		{"a Service comes after another", [][]*proxier.Service{{web}, {web, service("zoo", slice("c", 5))}}, []int{5}},
		{"a Service takes another's place", [][]*proxier.Service{{web}, {service("db", slice("a", 6))}}, []int{6}},
		{"triggers wait for a pass that succeeds", [][]*proxier.Service{{}, {service("web", slice("a", 1))}, {service("web", slice("a", 2))}}, []int{1, 2}},
		{"older than the process", [][]*proxier.Service{{}, {service("web", slice("a", -1))}}, nil},
		{"no trigger", [][]*proxier.Service{{}, {service("web", slice("a", 0))}}, nil},
		{"the other family's", [][]*proxier.Service{{}, {service("web", other)}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := triggers{family: proxier.IPv4, since: start}
			for _, state := range c.states {
				found.look(state)
			}
			var got []int
			for _, at := range found.take() {
				got = append(got, int(at.Sub(start)/time.Minute))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got triggers at minutes %v, want %v", got, c.want)
			}
			if again := found.take(); len(again) > 0 {
				t.Errorf("%v are told twice", again)
			}
		})
	}
}

func TestTriggersAreBounded(t *testing.T) {
	found := triggers{family: proxier.IPv4, since: start, started: true}
	for i := range maxTriggers + 10 {
		found.look([]*proxier.Service{service("web", slice("a", i+1))})
	}
	if n := len(found.take()); n != maxTriggers {
		t.Errorf("%d triggers are kept, want %d", n, maxTriggers)
	}
}
