package main

import (
	"context"
	"slices"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/nftcommit"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// sentries watch over the dataplanes of one family, which have been made.
func (h *host) sentries(tool *iptables.Tool) []proxier.Sentry {
	rules, err := h.rulesSentry(tool)
	return withRules(h.polls[tool.Family], h.rules[tool.Family].Name(), rules, err)
}

// withRules are the polls and what watches over the rules, a dataplane of that name,
// or cannot do so because of err.
func withRules(polls []proxier.Sentry, dataplane string, rules proxier.Sentry, err error) []proxier.Sentry {
	if err != nil {
		rules = missingSentry{dataplane, err}
	}
	return append(slices.Clip(polls), rules)
}

// A missingSentry is one that cannot be had. It stands among the others as one that
// has failed: nobody may take its dataplane for watched.
type missingSentry struct {
	dataplane string
	why       error
}

// Dataplane is the one that nobody watches.
func (s missingSentry) Dataplane() string { return s.dataplane }

// Watch fails.
func (s missingSentry) Watch(context.Context, func(proxier.Drift)) error { return s.why }

// Recheck does nothing: it tells nothing.
func (missingSentry) Recheck() {}

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
