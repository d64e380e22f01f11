package ipvs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A scheduler whose module is loaded later is used then, though no Service
// changes.
func TestWhatIsRefusedIsTriedAgain(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv4)
	kernel.Schedulers = []string{"rr"}
	store := clustergen.Uniform(4, 2)
	s := clustergen.Service(0)
	s.Annotations = map[string]string{proxier.SchedulerAnnotation: "lc"}
	store.SetService(s)
	now := time.Unix(1000, 0)
	timed := config()
	timed.Now = func() time.Time { return now }
	d, state := ipvs.NewDataplane(kernel, timed), build(store, proxier.IPv4)
	if refused := apply(t, d, state); len(refused) != 1 {
		t.Fatalf("refused: %v, want service-0 only", refused)
	}
	without := kernel.String()

	now = now.Add(proxier.FirstRetry)
	if refused := apply(t, d, state); len(refused) != 1 || kernel.String() != without {
		t.Errorf("tried again while it is refused: %v, and there is\n%s", refused, kernel)
	}
	mustBeEmpty(t, plan(t, d, state))

	kernel.Schedulers = nil
	now = now.Add(2 * proxier.FirstRetry)
	p := plan(t, d, state)
	if p.Empty() {
		t.Fatal("it is not tried again")
	}
	if p.Findings().Drift != proxier.DriftNone {
		t.Error("a retry is taken for drift")
	}
	if refused, err := p.Apply(t.Context()); err != nil || len(refused) != 0 {
		t.Fatalf("nothing refuses it, but: %v, %v", refused, err)
	}
	if !strings.Contains(kernel.String(), "-A -t 10.96.0.0:80 -s lc\n-a -t 10.96.0.0:80 ") {
		t.Errorf("it is not served:\n%s", kernel)
	}
	mustBeEmpty(t, plan(t, d, state))
}
