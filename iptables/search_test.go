package iptables_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A costly kernel counts what is asked of it since the last pass, and has a clock that
// only its work moves.
type costly struct {
	*iptablestest.Kernel
	saves, restores int
	now             time.Time
	each            time.Duration // that a write takes
}

func (c *costly) Save(ctx context.Context, table string) (string, error) {
	c.saves++
	return c.Kernel.Save(ctx, table)
}

func (c *costly) Restore(ctx context.Context, input string) error {
	c.restores++
	c.now = c.now.Add(c.each)
	return c.Kernel.Restore(ctx, input)
}

func newCostly() *costly { return &costly{Kernel: iptablestest.New(), now: time.Unix(1000, 0)} }

func (c *costly) dataplane() *iptables.Dataplane {
	timed := config
	timed.Now = func() time.Time { return c.now }
	return iptables.NewDataplane(c, timed)
}

// passes makes one, and those that the dataplane asks for. The work of each has a bound.
// Returned are the names of the Services that are refused after each.
func (c *costly) passes(t *testing.T, d *iptables.Dataplane, state *proxier.State, most int) (after [][]string) {
	t.Helper()
	for woken := true; woken; {
		c.saves, c.restores = 0, 0
		var names []string
		for _, r := range apply(t, d, state) {
			names = append(names, r.Target.Name.Name)
		}
		slices.Sort(names)
		if after = append(after, names); len(after) > 200 {
			t.Fatal("there is no end")
		}
		if c.restores > most || c.saves > 2*most {
			t.Errorf("pass %d: %d writes and %d tables read, want at most %d and %d", len(after), c.restores, c.saves, most, 2*most)
		}
		select {
		case <-d.Wake():
		default:
			woken = false
		}
	}
	return after
}

// mostTries is what one pass may try: the plan itself, an empty write, 48 times in a
// search, and once to get back to what was accepted.
const mostTries = 1 + 1 + 48 + 1

// A kernel that lacks a match refuses all Services that need it. Tried one by one they
// would keep all others waiting for minutes. Where the culprits have nothing in common,
// it takes long, too, but not within one pass.
func TestASearchOfManyCulpritsIsShort(t *testing.T) {
	name := regexp.MustCompile(`/(service-\d*3):`)
	for _, test := range []struct {
		name     string
		services int
		affinity bool
		refuse   func(chain, rule string) bool
		// atOnce is whether the first pass refuses nobody innocent.
		atOnce bool
	}{
		{"of a kind", 1000, true, func(_, rule string) bool { return strings.Contains(rule, "-m recent") }, true},
		{"of no kind", 200, false, func(_, rule string) bool { return name.MatchString(rule) }, false},
	} {
		store := clustergen.Uniform(test.services, 2)
		var culprits []string
		for i := 3; i < test.services; i += 10 {
			service := clustergen.Service(i)
			if test.affinity {
				service.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
			}
			store.SetService(service)
			culprits = append(culprits, service.Name)
		}
		slices.Sort(culprits)
		state := build(t, store)
		for _, hide := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, line hidden=%v", test.name, hide), func(t *testing.T) {
				kernel := newCostly()
				kernel.Refuse, kernel.HideLine = test.refuse, hide
				d := kernel.dataplane()
				after := kernel.passes(t, d, state, mostTries)
				if diff := cmp.Diff(culprits, after[len(after)-1]); diff != "" {
					t.Errorf("refused in the end, after %d passes (-want +got):\n%s", len(after), diff)
				}
				if atOnce := len(after[0]) == len(culprits); atOnce != test.atOnce {
					t.Errorf("%d are refused after the first pass, and %d are culprits", len(after[0]), len(culprits))
				}
				mustBeEmpty(t, plan(t, d, state))
			})
		}
	}
}

// Where a try takes long, a pass has fewer of them.
func TestASearchTakesNoLongerThanAPassMay(t *testing.T) {
	kernel := newCostly()
	kernel.each = 3 * time.Second
	kernel.HideLine = true
	kernel.Refuse = func(_, rule string) bool { return strings.Contains(rule, "service-13:") }
	const most = 60 / 3 // in a minute, after which /livez tells of a pass that hangs
	after := kernel.passes(t, kernel.dataplane(), build(t, clustergen.Uniform(1000, 1)), most)
	if last := after[len(after)-1]; len(after) < 2 || len(last) != 1 || last[0] != "service-13" {
		t.Errorf("after %d passes %v is refused, want service-13 after some", len(after), last)
	}
}

// A refused Service whose endpoints come and go is tried with each change, but not
// searched for again.
func TestAChangeOfARefusedServiceCostsLittle(t *testing.T) {
	kernel := newCostly()
	kernel.HideLine = true
	kernel.Refuse = func(_, rule string) bool { return strings.Contains(rule, "service-13:") }
	store := clustergen.Uniform(200, 1)
	state := build(t, store)
	d := kernel.dataplane()
	kernel.passes(t, d, state, mostTries)
	for generation := range 3 {
		store.SetEndpointSlice(clustergen.Slice(13, proxier.IPv4, 1, generation+1))
		store.SetEndpointSlice(clustergen.Slice(14, proxier.IPv4, 1, generation+1))
		state = proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4))
		const most = 3 // with it, an empty write, and without it
		after := kernel.passes(t, d, state, most)
		if len(after) != 1 || len(after[0]) != 1 || after[0][0] != "service-13" {
			t.Errorf("refused is %v, want service-13 after one pass", after)
		}
		mustBeEmpty(t, plan(t, d, state))
	}
}
