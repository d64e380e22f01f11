package subject

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// The programs.
const (
	Ours      = "kube-proxier"
	KubeProxy = "kube-proxy"
)

// The modes, as --proxy-mode has them.
const (
	IPTables = "iptables"
	NFTables = "nftables"
	IPVS     = "ipvs"
)

// A Kind is a program in a mode.
type Kind struct {
	Program string `json:"program"`
	Mode    string `json:"mode"`
	// Variant is the iptables in PATH, nft or legacy.
	Variant testenv.Variant `json:"variant"`
}

// String is how tables call it.
func (k Kind) String() string {
	switch k.Mode {
	case NFTables:
		return k.Program + " " + k.Mode
	case IPVS:
		return k.Program + " " + k.Mode
	}
	return fmt.Sprintf("%s %s-%s", k.Program, k.Mode, k.Variant)
}

// Kinds are all that are to be measured: of both programs if compare, in the modes
// and over the variants. nftables is a mode of kube-proxy alone; only iptables mode
// depends on the variant.
func Kinds(modes []string, variants []testenv.Variant, compare bool) ([]Kind, error) {
	var kinds []Kind
	for _, mode := range modes {
		switch mode {
		case IPTables:
			for _, variant := range variants {
				kinds = append(kinds, both(mode, variant, compare)...)
			}
		case NFTables:
			if compare {
				kinds = append(kinds, Kind{KubeProxy, mode, testenv.VariantNFT})
			}
		case IPVS:
			kinds = append(kinds, both(mode, testenv.VariantNFT, compare)...)
		default:
			return nil, fmt.Errorf("mode %q: want iptables, nftables or ipvs", mode)
		}
	}
	return kinds, nil
}

func both(mode string, variant testenv.Variant, compare bool) []Kind {
	kinds := []Kind{{Ours, mode, variant}}
	if compare {
		kinds = append(kinds, Kind{KubeProxy, mode, variant})
	}
	return kinds
}

// ParseVariants reads a list such as "nft,legacy".
func ParseVariants(text string) ([]testenv.Variant, error) {
	var variants []testenv.Variant
	for name := range strings.SplitSeq(text, ",") {
		if !slices.Contains(testenv.Variants(), testenv.Variant(name)) {
			return nil, fmt.Errorf("variant %q: want nft or legacy", name)
		}
		variants = append(variants, testenv.Variant(name))
	}
	return variants, nil
}
