package main

import (
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// sentries watch over the dataplanes of one family, which have been made. Where
// one cannot be had, the regular comparison remains, and the error says why.
func (h *host) sentries(tool *iptables.Tool) ([]proxier.Sentry, error) {
	rules, err := h.rulesSentry(tool)
	if err != nil {
		return h.polls[tool.Family], err
	}
	return append(h.polls[tool.Family], rules), nil
}

func (h *host) rulesSentry(tool *iptables.Tool) (proxier.Sentry, error) {
	rules := h.rules[tool.Family]
	if tool.Variant == iptables.VariantLegacy {
		return iptables.WatchTables(tool, rules)
	}
	if h.commits == nil { // one for both families: each receives all there is
		var err error
		if h.commits, err = nftcommit.Open(); err != nil {
			return nil, err
		}
	}
	return iptables.WatchCommits(h.commits, tool, rules), nil
}
