package traffic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func portName(service string) proxier.ServicePortName {
	if service == "" {
		return proxier.ServicePortName{}
	}
	return proxier.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "shop", Name: service}}
}

// reading is written as "a=3 b/2=4 -=5 ; a b": counters by the Service they are for
// ("-" for nobody known) and, after a slash, the shape; then who is served.
func reading(t *testing.T, text string) Reading {
	t.Helper()
	var r Reading
	counters, served, _ := strings.Cut(text, ";")
	for _, word := range strings.Fields(counters) {
		name, value, _ := strings.Cut(word, "=")
		service, shape, _ := strings.Cut(name, "/")
		c := Counter{Port: portName(strings.TrimSuffix(strings.TrimSuffix(service, "'"), "?"))}
		if strings.HasSuffix(service, "?") {
			c.Port = proxier.ServicePortName{}
		}
		c.Name = strings.TrimSuffix(service, "?")
		if shape != "" {
			c.Shape = uint64(shape[0])
		}
		if _, err := fmt.Sscan(value, &c.Connections); err != nil {
			t.Fatal(err)
		}
		r.Counters = append(r.Counters, c)
	}
	for _, service := range strings.Fields(served) {
		r.Ports = append(r.Ports, Port{portName(service), 80})
	}
	return r
}

// text is such as "a=3 b=4 others=0 hidden=0".
func text(totals Totals) string {
	var b strings.Builder
	for _, p := range totals.Ports {
		fmt.Fprintf(&b, "%s=%d ", p.Name, p.Connections)
	}
	fmt.Fprintf(&b, "others=%d hidden=%d", totals.Others.Connections, totals.Hidden)
	return b.String()
}

// In the readings a' is another counter of a, a? one of a whose Service port is
// not known yet.
func TestMeter(t *testing.T) {
	type step struct{ reading, want string }
	for _, test := range []struct {
		name  string
		max   int // 0 for many
		start string
		steps []step
	}{
		{name: "grows", steps: []step{{"a=3; a", "a=3 others=0 hidden=0"}, {"a=5; a", "a=5 others=0 hidden=0"}}},
		{name: "what was there at the start does not count", start: "a=7 b=2", steps: []step{
			{"a=7 b=3; a b", "a=0 b=1 others=0 hidden=0"},
		}},
		{name: "several counters of one port", steps: []step{
			{"a=3 a'=4; a", "a=7 others=0 hidden=0"}, {"a=4 a'=4; a", "a=8 others=0 hidden=0"},
		}},
		{name: "nothing yet", steps: []step{{"; a", "a=0 others=0 hidden=0"}}},
		{name: "written anew, and lower", steps: []step{{"a=5; a", "a=5 others=0 hidden=0"}, {"a=2; a", "a=7 others=0 hidden=0"}, {"a=3; a", "a=8 others=0 hidden=0"}}},
		{name: "written anew in another shape, and higher", steps: []step{{"a/x=5; a", "a=5 others=0 hidden=0"}, {"a/y=6; a", "a=11 others=0 hidden=0"}}},
		{name: "written anew after the start in another shape", start: "a/x=5", steps: []step{{"a/y=6; a", "a=6 others=0 hidden=0"}}},
		{name: "gone and back", steps: []step{{"a=5; a", "a=5 others=0 hidden=0"}, {"; a", "a=5 others=0 hidden=0"}, {"a=6; a", "a=11 others=0 hidden=0"}}},
		{name: "not known yet", steps: []step{{"a?=5; a", "a=0 others=0 hidden=0"}, {"a=6; a", "a=6 others=0 hidden=0"}}},
		{name: "not known any more, and known again", steps: []step{
			{"a=5; a", "a=5 others=0 hidden=0"}, {"a?=6; a", "a=5 others=0 hidden=0"}, {"a=8; a", "a=8 others=0 hidden=0"},
		}},
		{name: "a Service that is deleted is forgotten", steps: []step{
			{"a=5 b=1; a b", "a=5 b=1 others=0 hidden=0"}, {"b=1; b", "b=1 others=0 hidden=0"}, {"a=2 b=1; a b", "a=2 b=1 others=0 hidden=0"},
		}},
		{name: "too many Services", max: 2, steps: []step{
			{"a=1 b=2 c=3 d=4; a b c d", "a=1 b=2 others=7 hidden=2"}, {"a=1 b=3 c=5 d=4; a b c d", "a=1 b=3 others=9 hidden=2"},
		}},
		{name: "who is shown stays so", max: 2, steps: []step{
			{"c=1 d=2; c d", "c=1 d=2 others=0 hidden=0"}, {"a=9 c=1 d=3; a c d", "c=1 d=3 others=9 hidden=1"},
		}},
		{name: "a place that becomes free", max: 1, steps: []step{
			{"a=1 b=2; a b", "a=1 others=2 hidden=1"}, {"b=5; b", "b=3 others=2 hidden=0"}, {"b=6; b", "b=4 others=2 hidden=0"},
		}},
		{name: "what is hidden is not lost when it goes", max: 1, steps: []step{
			{"a=1 b=2; a b", "a=1 others=2 hidden=1"}, {"a=1; a", "a=1 others=2 hidden=0"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.max == 0 {
				test.max = 100
			}
			m := NewMeter(test.max)
			m.Start(reading(t, test.start))
			for i, s := range test.steps {
				m.Add(reading(t, s.reading))
				if got := text(m.Totals()); got != s.want {
					t.Errorf("after reading %d, %q: %s, want %s", i, s.reading, got, s.want)
				}
			}
		})
	}
}

// A Service counts once, however many ports it has.
func TestAllPortsOfAServiceAreShown(t *testing.T) {
	m := NewMeter(1)
	var r Reading
	for _, port := range []string{"dns", "metrics"} {
		name := portName("a")
		name.Port = port
		r.Ports = append(r.Ports, Port{name, 53})
	}
	r.Ports = append(r.Ports, Port{portName("b"), 80})
	m.Add(r)
	if got := m.Totals(); len(got.Ports) != 2 || got.Hidden != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestSince(t *testing.T) {
	last := Counts{Connections: 5, PacketsIn: 50, PacketsOut: 40, BytesIn: 5000, BytesOut: 4000}
	for name, test := range map[string]struct{ now, want Counts }{
		"the same": {last, Counts{}},
		"more":     {Counts{6, 52, 43, 5004, 4005}, Counts{1, 2, 3, 4, 5}},
		// Connections alone would not tell.
		"one of them is lower": {Counts{6, 52, 43, 5004, 1}, Counts{6, 52, 43, 5004, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.now.since(last)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
