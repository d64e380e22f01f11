package iptables_test

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// What the kernel has is found, and what it has not is, too.
func TestMissing(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT, testenv.IPTablesLegacy)
	for _, family := range proxier.Families {
		tool, err := iptables.FindTool(t.Context(), family)
		if err != nil {
			t.Fatal(err)
		}
		other, err := tool.OtherVariant()
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range []*iptables.Tool{tool, other} {
			t.Run(tool.String(), func(t *testing.T) {
				needs := iptables.Needs(family, false)
				missing, err := tool.Missing(t.Context(), needs)
				if err != nil || len(missing) > 0 {
					t.Errorf("%v, %v", missing, err)
				}
				needs = append(needs, iptables.Need{Name: "match teapot", Table: iptables.Filter, Rule: "-m teapot -j RETURN"})
				missing, err = tool.Missing(t.Context(), needs)
				if err != nil || len(missing) != 1 || missing[0].Name != "match teapot" {
					t.Errorf("with one the kernel has not: %v, %v", missing, err)
				}
			})
		}
	}
}

// Each need stands for a rule that Compile may write.
func TestNeedsAreDistinct(t *testing.T) {
	for _, virtual := range []bool{false, true} {
		seen, essential := map[string]bool{}, map[string]bool{}
		for _, need := range iptables.Needs(proxier.IPv6, virtual) {
			if seen[need.Name] || need.For == "" || !strings.Contains(need.Name, " ") {
				t.Errorf("%+v", need)
			}
			seen[need.Name], essential[need.Name] = true, need.Essential
		}
		if seen["match ipvs"] != virtual || !seen["target DNAT"] || essential["target DNAT"] == virtual {
			t.Errorf("IPVS mode %t: %v, essential %v", virtual, seen, essential)
		}
	}
}
