package main

import (
	"context"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/preflight"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// lookAround says at the start of the daemon what is wrong with this host, all
// of it. An error holds what keeps everything from being served; the mode, the
// parameters and the API server have their own words in the log.
func lookAround(ctx context.Context, c *config.Config, dryRun bool) ([]preflight.Finding, error) {
	facts := preflight.Gather(ctx, preflight.Known{Config: c, Starting: true, SkipPorts: dryRun})
	findings := preflight.Judge(facts)
	logger := klog.FromContext(ctx)
	for _, f := range findings {
		if f.Severity == preflight.OK {
			logger.V(2).Info("Check", "subject", f.Subject, "what", f.What, "note", f.Why)
			continue
		}
		logger.Info("Check", "severity", f.Severity, "subject", f.Subject, "what", f.What, "why", f.Why, "do", f.Do)
	}
	return preflight.NotOK(findings), preflight.Err(findings)
}
