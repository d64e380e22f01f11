package kerneltest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestCleanupLeavesOthers: after cleanup the tables are as if we had never been
// there, and what others put there is.
func TestCleanupLeavesOthers(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			if err := k.host.Do(func() error { return k.tool.Restore(t.Context(), othersRules) }); err != nil {
				t.Fatal(err)
			}
			before := rulesIn(saveAll(t, k))
			serve(t, iptables.NewDataplane(k, k.config(t, 14)), dumpState(t, family))
			var kernel iptables.Ruleset
			for table, save := range saveAll(t, k) {
				rules, err := iptables.ParseSave(save)
				if err != nil {
					t.Fatal(err)
				}
				kernel.Tables = append(kernel.Tables, rules.Table(table))
			}
			for _, call := range iptables.Cleanup(iptables.Observe(kernel)).Calls {
				if err := k.Restore(t.Context(), call); err != nil {
					t.Fatalf("%v; the call was\n%s", err, call)
				}
			}
			if diff := cmp.Diff(before, rulesIn(saveAll(t, k))); diff != "" {
				t.Errorf("%s (- before we came, + after cleanup):\n%s", k.tool, diff)
			}
		}
	})
}
