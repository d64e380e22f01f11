package main

import (
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A logReporter logs the passes over one family: what was done, what went
// wrong, and each problem of an object once. Its calls do not overlap.
type logReporter struct {
	logger klog.Logger
	news   proxier.News
	// problems are those of the last State.
	problems []proxier.Problem
	failures lastingFailures
	// podsUnknownBy is the mode of which was told that it recognises no pods.
	podsUnknownBy proxier.LocalPodsMode
}

// Synced logs one pass.
func (l *logReporter) Synced(r proxier.Report) {
	logger := l.logger.WithValues("family", r.Family, "dataplane", r.Dataplane)
	if !r.Following { // whose State may be an earlier one
		l.logProblems(proxier.NewProblems(l.problems, r.State.Problems))
		l.problems = r.State.Problems
		l.logLocalPods(r.State)
	}
	l.logProblems(l.news.Problems(r))
	if r.Loss != nil {
		logger.Error(nil, "Nearly all Services are suddenly gone or without endpoints; that is put into force as the objects say it", "before", r.Loss.Before, "left", r.Loss.Left)
	}
	if r.Err != nil {
		if tell, before := l.failures.failed(r.Dataplane, r.Err, time.Now()); tell {
			logger.Error(r.Err, "A pass failed; what was in force before may still be", "duration", r.Duration, "failedBefore", before)
		}
		return
	}
	if tell, failed := l.failures.succeeded(r.Dataplane); tell {
		logger.Info("Passes do not fail any more", "failed", failed)
	}
	l.logRefusals(logger, r)
	l.logFeud(logger, r)
	l.logKept(logger, r)
	switch s := r.Plan.Summary(); {
	case r.Plan.Empty():
		logger.V(2).Info("Nothing to do", "duration", r.Duration)
	case r.DryRun:
		logger.Info("Planned; a dry run changes nothing", "chains", s.Chains, "rules", s.Rules, "deleted", s.Deleted, "flows", s.Flows, "duration", r.Duration)
	case r.Drift:
		logger.Info("Somebody else changed our rules; they are repaired", "chains", s.Chains, "rules", s.Rules, "deleted", s.Deleted, "duration", r.Duration,
			"noticed", noticed(r.Noticed))
	case s.Flows > 0:
		logger.Info("Deleted tracked connections that contradict what is served", "flows", s.Flows, "more", s.More, "duration", r.Duration)
	default:
		logger.Info("Synced", "services", r.State.Served(), "chains", s.Chains, "rules", s.Rules,
			"deleted", s.Deleted, "bytes", s.Bytes, "duration", r.Duration)
	}
}

// noticed says how drift was noticed and, where it is known, who did what, such
// as "notification: nft[123]: nat KUBE-SERVICES".
func noticed(drifts []proxier.Drift) []string {
	words := make([]string, len(drifts))
	for i, d := range drifts {
		words[i] = string(d.Cause)
		if s := d.String(); s != "" {
			words[i] += ": " + s
		}
	}
	return words
}

// logFeud logs when one begins and when it ends.
func (l *logReporter) logFeud(logger klog.Logger, r proxier.Report) {
	switch began, ended := l.news.Feud(r); {
	case began:
		logger.Error(nil, "Somebody else keeps changing what is repaired; repairs are made ever more rarely from now on, changes of objects still at once",
			"repairs", r.Feud.Repairs, "wait", r.Feud.Wait, "noticed", noticed(r.Noticed))
	case ended:
		logger.Info("Nobody changes what is repaired any more")
	}
}

// logKept logs what is left because others use it, once.
func (l *logReporter) logKept(logger klog.Logger, r proxier.Report) {
	for _, what := range l.news.Kept(r) {
		logger.Info("Something of ours that is not needed any more is left, because others use it", "what", what)
	}
}

func (l *logReporter) logProblems(problems []proxier.Problem) {
	for _, p := range problems {
		l.logger.Info("An object cannot be served as it is written", "problem", p.String())
	}
}

// logRefusals logs each Service port that the kernel does not take, once.
func (l *logReporter) logRefusals(logger klog.Logger, r proxier.Report) {
	for _, refusal := range l.news.Refused(r) {
		logger.Error(refusal.Err, "The kernel refuses the rules of a Service port; it is left out, and tried again when it changes and from time to time", "servicePort", refusal.Target.Name.String())
	}
}
