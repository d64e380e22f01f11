package main

import (
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// sentries watch over the dataplanes of one family, which have been made. Where
// one cannot be had, the regular comparison remains.
func (h *host) sentries(tool *iptables.Tool) ([]proxier.Sentry, error) {
	rules := h.rules[tool.Family]
	if tool.Variant == iptables.VariantLegacy {
		sentry, err := iptables.WatchTables(tool, rules)
		if err != nil {
			return nil, err
		}
		return []proxier.Sentry{sentry}, nil
	}
	if h.commits == nil { // one for both families: each receives all there is
		var err error
		if h.commits, err = nftcommit.Open(); err != nil {
			return nil, err
		}
	}
	return []proxier.Sentry{iptables.WatchCommits(h.commits, tool, rules)}, nil
}
