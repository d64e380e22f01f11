package proxier

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// A refuser is a kernel that refuses some Service ports, by name.
type refuser struct {
	retries Retries
	refuses map[string]bool
	left    []*Target
	now     time.Time
}

// pass makes one, after some time, and returns whom it has tried again.
func (r *refuser) pass(after time.Duration) (tried []string) {
	r.now = r.now.Add(after)
	again := map[*Target]bool{}
	for _, t := range r.retries.Take(r.now, r.left) {
		tried, again[t] = append(tried, t.Name.Name), true
	}
	var left []*Target
	for _, t := range r.left {
		if !again[t] || r.refuses[t.Name.Name] {
			left = append(left, t)
		}
	}
	r.left = left
	r.retries.Done(r.now, r.left)
	return tried
}

func (r *refuser) refuse(names ...string) {
	for _, name := range names {
		r.refuses[name] = true
		r.left = append(r.left, &Target{ServicePort: &ServicePort{Name: ServicePortName{NamespacedName: types.NamespacedName{Name: name}}}})
	}
}

func TestRefusedPortsAreTriedAgain(t *testing.T) {
	type step struct {
		after time.Duration
		want  []string
	}
	one := func(name string) []string { return []string{name} }
	for _, test := range []struct {
		name  string
		heals bool // before the first step
		steps []step
	}{
		{"slower and slower, by turns", false, []step{
			{59 * time.Second, nil},
			{time.Second, one("a")},
			{time.Minute, nil},
			{time.Minute, one("b")},
			{4 * time.Minute, one("c")},
			{8 * time.Minute, one("d")},
			{9 * time.Minute, nil},
			{time.Minute, one("e")},
			{10 * time.Minute, one("a")},
		}},
		{"all soon, when one is not refused any more", true, []step{
			{59 * time.Second, nil},
			{time.Second, one("a")},
			{time.Second, []string{"b", "c"}},
			{0, []string{"d", "e"}},
			{time.Hour, nil},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &refuser{refuses: map[string]bool{}, now: time.Unix(1000, 0)}
			r.refuse("a", "b", "c", "d", "e")
			r.pass(0)
			if test.heals {
				clear(r.refuses)
			}
			for i, s := range test.steps {
				if diff := cmp.Diff(s.want, r.pass(s.after)); diff != "" {
					t.Errorf("step %d, after %s (-want +got):\n%s", i, s.after, diff)
				}
			}
		})
	}
}

// A port that is refused only now waits for no other's pause.
func TestANewRefusalIsTriedSoon(t *testing.T) {
	r := &refuser{refuses: map[string]bool{}, now: time.Unix(1000, 0)}
	r.refuse("a")
	r.pass(0)
	for range 5 {
		r.pass(SlowestRetry)
	}
	r.refuse("b")
	r.pass(time.Second)
	if have := r.pass(FirstRetry); fmt.Sprint(have) != "[b]" {
		t.Errorf("have %v tried, want b", have)
	}
}

// A pass that fails says nothing about the port, and does not have the next one
// try another.
func TestAPassThatFailsKeepsItsTurn(t *testing.T) {
	r := &refuser{refuses: map[string]bool{}, now: time.Unix(1000, 0)}
	r.refuse("a", "b")
	r.pass(0)
	now := r.now.Add(FirstRetry)
	if have := r.retries.Take(now, r.left); len(have) != 1 {
		t.Fatalf("%d are tried, want 1", len(have))
	}
	if have := r.retries.Take(now.Add(time.Second), r.left[1:]); have != nil {
		t.Errorf("%d more are tried after a pass that failed", len(have))
	}
}
