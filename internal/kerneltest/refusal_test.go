package kerneltest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// spoilt are two kinds of rules that are refused: one the tool does not
// understand, and one that only the kernel rejects (a list of xt_recent whose
// name cannot be a file's).
var spoilt = strings.NewReplacer(
	"-j DNAT --to-destination 10.244.1.98:8080", "-m tcp --dport 99999 -j DNAT --to-destination 10.244.1.98:8080",
	"-j DNAT --to-destination 10.244.1.99:8080", "-m recent --set --name a/b -j DNAT --to-destination 10.244.1.99:8080",
	"-j DNAT --to-destination [fd00:10:244:1::98]:8080", "-m tcp --dport 99999 -j DNAT --to-destination [fd00:10:244:1::98]:8080",
	"-j DNAT --to-destination [fd00:10:244:1::99]:8080", "-m recent --set --name a/b -j DNAT --to-destination [fd00:10:244:1::99]:8080",
)

// numbered is shop/sN with one endpoint of each family that ends in host.
func numbered(n int, host string) service {
	return service{
		name: fmt.Sprintf("s%d", n), protocol: "TCP",
		ips:       [2]string{fmt.Sprintf("10.96.33.%d", n), fmt.Sprintf("fd00:10:96::3:%x", n)},
		endpoints: addrsOf("10.244.1."+host, "fd00:10:244:1::"+host),
	}
}

// TestRefusalSparesTheOthers: what the kernel or the tool refuses is set aside,
// by name; all else is served, and the refused are tried again when they change.
func TestRefusalSparesTheOthers(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		manifests := func(bad ...string) string {
			var b strings.Builder
			for n := range 20 {
				host := "20"
				if n == 5 || n == 13 {
					host, bad = bad[0], bad[1:]
				}
				b.WriteString(numbered(n+1, host).String())
			}
			return b.String()
		}
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			k.spoil = spoilt.Replace
			d := iptables.NewDataplane(k, k.config(t, 14))

			_, refused := apply(t, d, stateOf(t, parseObjects(t, manifests("98", "99")), family))
			mustBeRefused(t, refused, "shop/s6", "shop/s14")
			if have := served(t, k); have != 18 {
				t.Errorf("%s: %d Services are served beside the refused, want 18", family, have)
			}
			sent := k.sent()
			state := stateOf(t, parseObjects(t, manifests("98", "97")), family)
			_, refused = apply(t, d, state)
			mustBeRefused(t, refused, "shop/s6")
			if have := served(t, k); have != 19 {
				t.Errorf("%s: %d Services are served when one of two is mended, want 19", family, have)
			}
			t.Logf("%s: %d calls at first, %d more", family, sent, k.sent()-sent)
			if plan := planOf(t, d, stateOf(t, parseObjects(t, manifests("96", "97")), family)); plan.Empty() {
				t.Errorf("%s: the other is mended, and not tried again", family)
			}
		}
	})
}

func mustBeRefused(t *testing.T, have []proxier.Refusal, want ...string) {
	t.Helper()
	var names []string
	for _, r := range have {
		names = append(names, r.Target.Name.String())
		if r.Err == nil || r.Err.Error() == "" {
			t.Errorf("%s is refused without a reason", r.Target.Name)
		}
		t.Logf("%s: %v", r.Target.Name, r.Err)
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("refused are %v, want %v", names, want)
	}
}

// served counts the DNAT rules in the kernel.
func served(t *testing.T, k *kernel) int {
	t.Helper()
	return strings.Count(saveAll(t, k)[iptables.NAT], "-j DNAT --to-destination")
}
