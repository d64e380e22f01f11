package kerneltest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// drifts are what others do to our rules, as input of iptables-restore.
var drifts = []struct{ name, input string }{
	{"a chain emptied", "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n"},
	{"a rule deleted", "*nat\n-D KUBE-POSTROUTING 1\nCOMMIT\n"},
	{"a rule inserted", "*nat\n-I KUBE-SERVICES -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n"},
	{"a rule appended", "*filter\n-A KUBE-FORWARD -j DROP\nCOMMIT\n"},
	{"a chain that nobody asked for", "*nat\n:KUBE-SVC-ABCDEFGHIJKLMNOP - [0:0]\n-A KUBE-SVC-ABCDEFGHIJKLMNOP -j RETURN\nCOMMIT\n"},
	{"jumps deleted", "*nat\n-F PREROUTING\n-F OUTPUT\nCOMMIT\n*filter\n-F INPUT\nCOMMIT\n"},
	{"a jump twice", `*nat
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
`},
	{"all jumps of a chain twice", `*filter
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
COMMIT
`},
	{"jumps in another order", `*filter
-D FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
`},
	{"a jump of another form", "*filter\n-A FORWARD -j KUBE-FORWARD\nCOMMIT\n"},
	{"all of it deleted", "*nat\n-F\n-X\nCOMMIT\n*filter\n-F\n-X\nCOMMIT\n"},
}

// TestDriftIsRepaired: whatever somebody else does to our rules, one pass makes
// them what they were, byte for byte.
func TestDriftIsRepaired(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			d := iptables.NewDataplane(k, k.config(t, 14))
			state := dumpState(t, family)
			serve(t, d, state)
			right := rulesIn(saveAll(t, k))
			for _, drift := range drifts {
				t.Run(fmt.Sprintf("%s/%s", family, drift.name), func(t *testing.T) {
					if err := k.host.Do(func() error { return k.tool.Restore(t.Context(), drift.input) }); err != nil {
						t.Fatal(err)
					}
					if cmp.Equal(right, rulesIn(saveAll(t, k))) {
						t.Fatal("it changed nothing: this says nothing")
					}
					d.Forget() // somebody has been told
					if plan := serve(t, d, state); plan.Empty() || strings.TrimSpace(plan.Diff()) == "" {
						t.Error("the plan is empty, or does not show what is different")
					}
					if diff := cmp.Diff(right, rulesIn(saveAll(t, k))); diff != "" {
						t.Errorf("not repaired (- as it was, + as it is):\n%s", diff)
					}
				})
			}
		}
	})
}
