package subject

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestKindsAreThoseThatExist(t *testing.T) {
	tests := []struct {
		name    string
		modes   []string
		compare bool
		want    []string
	}{
		{
			"ours alone",
			[]string{IPTables, NFTables, IPVS},
			false,
			[]string{"kube-proxier iptables-nft", "kube-proxier iptables-legacy", "kube-proxier ipvs"},
		},
		{"compared", []string{IPTables, NFTables, IPVS}, true, []string{
			"kube-proxier iptables-nft", "kube-proxy iptables-nft", "kube-proxier iptables-legacy", "kube-proxy iptables-legacy",
			"kube-proxy nftables", "kube-proxier ipvs", "kube-proxy ipvs",
		}},
		{"nftables alone", []string{NFTables}, true, []string{"kube-proxy nftables"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kinds, err := Kinds(test.modes, testenv.Variants(), test.compare)
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, kind := range kinds {
				have = append(have, kind.String())
			}
			if diff := cmp.Diff(test.want, have); diff != "" {
				t.Errorf("-want +have:\n%s", diff)
			}
		})
	}
	if kinds, err := Kinds([]string{"userspace"}, testenv.Variants(), false); err == nil {
		t.Errorf("an unknown mode: have %v, want an error", kinds)
	}
	if variants, err := ParseVariants("nft,nf_tables"); err == nil {
		t.Errorf("an unknown variant: have %v, want an error", variants)
	}
}
