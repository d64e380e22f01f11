package main

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// reportLeftovers says when a Service proxy has left rules in the variant of
// iptables that is not in use: packets pass through both, and old rules win.
func reportLeftovers(ctx context.Context, tools []*iptables.Tool) {
	for _, tool := range tools {
		other, err := tool.OtherVariant()
		if err != nil {
			continue // it is not installed
		}
		have, err := other.Observe(ctx)
		if err != nil {
			klog.FromContext(ctx).V(2).Info("The other variant of iptables cannot be read", "tool", other, "reason", err)
			continue
		}
		if names := chainNames(have.Own); len(names) > 0 {
			klog.FromContext(ctx).Info("The other variant of iptables holds rules of a Service proxy, which still take packets; \"kube-proxier cleanup\" removes those of both variants, and a restart puts the right ones back",
				"inUse", tool, "other", other, "chains", len(names), "first", names[0])
		}
	}
}
