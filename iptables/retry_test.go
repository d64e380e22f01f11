package iptables_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// What the kernel refuses for a reason that passes is served though nobody
// changes it; what it keeps refusing disturbs nobody.
func TestARefusedServiceIsTriedAgain(t *testing.T) {
	for _, hide := range []bool{false, true} {
		t.Run(fmt.Sprintf("line hidden=%v", hide), func(t *testing.T) {
			kernel := iptablestest.New()
			kernel.HideLine = hide
			kernel.Refuse = func(_, rule string) bool { return strings.Contains(rule, "service-13:") }
			now := time.Unix(1000, 0)
			timed := config
			timed.Now = func() time.Time { return now }
			d, state := iptables.NewDataplane(kernel, timed), build(t, clustergen.Uniform(100, 1))
			if refused := apply(t, d, state); len(refused) != 1 {
				t.Fatalf("%d refused, want 1", len(refused))
			}
			without := kernel.String()

			now = now.Add(proxier.FirstRetry)
			d.Forget()
			p := plan(t, d, state)
			if p.Empty() {
				t.Fatal("it is not tried again")
			}
			if refused, err := p.Apply(t.Context()); err != nil || len(refused) != 1 {
				t.Fatalf("tried again while it is refused: %v, %v", refused, err)
			}
			if kernel.String() != without {
				t.Error("trying has changed what is served")
			}
			mustBeEmpty(t, plan(t, d, state))

			kernel.Refuse = nil
			now = now.Add(2 * proxier.FirstRetry)
			d.Forget()
			p = plan(t, d, state)
			if drift := p.Findings().Drift; drift != proxier.DriftNone {
				t.Errorf("a retry is taken for drift: %v", drift)
			}
			if refused, err := p.Apply(t.Context()); err != nil || len(refused) != 0 {
				t.Fatalf("nothing refuses it, but: %v, %v", refused, err)
			}
			if !strings.Contains(kernel.String(), "/service-13:http ") {
				t.Error("it is not served")
			}
			mustBeEmpty(t, plan(t, d, state))
		})
	}
}
