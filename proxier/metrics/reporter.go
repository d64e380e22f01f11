package metrics

import (
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A reporter turns one family's reports into numbers. Its calls do not overlap.
type reporter struct {
	*Metrics
	family string
	// took is the duration of the pass so far.
	took     time.Duration
	triggers triggers
	news     proxier.News
	kinds    map[string]bool // of problems that were there
}

// Reporter is to be told of one family's passes. Its counters are there from
// now on, with 0.
func (m *Metrics) Reporter(family proxier.Family) proxier.Reporter {
	r := &reporter{
		Metrics: m, family: string(family),
		triggers: triggers{family: proxier.IPv4, since: m.start},
		kinds:    map[string]bool{},
	}
	if family == proxier.IPv6 {
		r.triggers.family = proxier.IPv6
	}
	m.setInForce(family, proxier.Changes{})
	m.restoreFailures.WithLabelValues(r.family)
	m.partialRestoreFailures.WithLabelValues(r.family)
	m.conntrackDeleted.WithLabelValues(r.family)
	m.losses.WithLabelValues(r.family)
	m.otherVariant.WithLabelValues(r.family)
	m.sync.WithLabelValues(r.family)
	m.programming.WithLabelValues(r.family)
	// 0 until there is one: an alert on passes that have never succeeded needs both.
	m.lastSync.WithLabelValues(r.family)
	m.lastQueued.WithLabelValues(r.family)
	for _, kind := range []string{"Service", "EndpointSlice", "Node"} {
		r.kinds[kind] = true
	}
	return r
}

// OtherVariant counts that somebody wrote a Service proxy's chains with the
// variant of iptables that is not in use.
func (m *Metrics) OtherVariant(family proxier.Family) {
	m.otherVariant.WithLabelValues(string(family)).Inc()
}

// Begin says that passes are made by other dataplanes from now on: what the
// gauges say of the earlier ones is gone. No Reporter may be told of a pass at
// the same time.
func (m *Metrics) Begin() {
	m.ownVectors.refused.Reset()
	m.feud.Reset()
	m.draining.Reset()
	m.rules.Reset()
	m.rulesLast.Reset()
}

// Synced counts one report. What a dry run would have done is not counted.
func (r *reporter) Synced(report proxier.Report) {
	if report.DryRun {
		return
	}
	r.dataplane(report)
	if report.Loss != nil {
		r.losses.WithLabelValues(r.family).Inc()
	}
	if report.Following {
		if report.Dataplane == "conntrack" {
			r.conntracked(report)
		}
		return
	}
	r.took += report.Building + report.Duration
	if report.Building > 0 {
		r.building.WithLabelValues(r.family).Observe(report.Building.Seconds())
	}
	r.restored(report)
	if report.Last {
		r.passed(report)
		r.took = 0
	}
}

// dataplane counts what every dataplane does.
func (r *reporter) dataplane(report proxier.Report) {
	name := report.Dataplane
	r.planning.WithLabelValues(r.family, name).Observe(report.Planning.Seconds())
	failures := r.failures.WithLabelValues(r.family, name)
	for _, cause := range []proxier.Cause{proxier.Notified, proxier.Polled, proxier.Compared} {
		r.drift.WithLabelValues(r.family, name, string(cause)) // 0 from the start
	}
	if report.Plan != nil && !report.Plan.Empty() {
		r.apply.WithLabelValues(r.family, name).Observe((report.Duration - report.Planning).Seconds())
	}
	if report.Err != nil {
		failures.Inc()
		return
	}
	if report.Drift {
		r.drift.WithLabelValues(r.family, name, string(cause(report.Noticed))).Inc()
	}
	wait := 0.0
	if report.Feud != nil {
		wait = report.Feud.Wait.Seconds()
	}
	r.feud.WithLabelValues(r.family, name).Set(wait)
	if drains := report.Findings.Drains; drains != nil {
		r.drains(*drains)
	}
	if report.Following {
		return // it writes no rules
	}
	s := report.Plan.Summary()
	r.chains.WithLabelValues(r.family, name).Add(float64(s.Chains))
	r.deleted.WithLabelValues(r.family, name).Add(float64(s.Deleted))
	r.ruleLines.WithLabelValues(r.family, name).Add(float64(s.Rules))
	r.sent.WithLabelValues(r.family, name).Add(float64(s.Bytes))
	r.Metrics.refused.WithLabelValues(r.family, name).Set(float64(len(report.Refused)))
}

func (r *reporter) drains(d proxier.Drains) {
	r.draining.WithLabelValues(r.family).Set(float64(d.Draining))
	for reason, n := range map[string]int{"ended": d.Ended, "timeout": d.TimedOut, "returned": d.Returned, "deleted": d.Deleted} {
		r.drained.WithLabelValues(r.family, reason).Add(float64(n))
	}
}

// cause is that of the first that was noticed.
func cause(noticed []proxier.Drift) proxier.Cause {
	for _, d := range noticed {
		return d.Cause
	}
	return proxier.Compared
}

// conntracked counts a look at the table of connections. Most passes need none.
func (r *reporter) conntracked(report proxier.Report) {
	if report.Findings.Remembered {
		return
	}
	r.conntrack.WithLabelValues(r.family).Observe(report.Duration.Seconds())
	if report.Err == nil {
		r.conntrackDeleted.WithLabelValues(r.family).Add(float64(report.Plan.Summary().Flows))
	}
}

// restored counts what became of a dataplane of rules.
func (r *reporter) restored(report proxier.Report) {
	if len(report.Findings.Rules) == 0 {
		return // another dataplane, or there was nothing to restore
	}
	if report.Err != nil || len(r.news.Refused(report)) > 0 {
		r.restoreFailures.WithLabelValues(r.family).Inc()
		if !report.Compared {
			r.partialRestoreFailures.WithLabelValues(r.family).Inc()
		}
	}
	if report.Err != nil {
		return
	}
	for _, count := range report.Findings.Rules {
		r.rules.WithLabelValues(count.Table, r.family).Set(float64(count.Total))
		r.rulesLast.WithLabelValues(count.Table, r.family).Set(float64(count.Written))
	}
}

// passed counts a pass over all dataplanes.
func (r *reporter) passed(report proxier.Report) {
	took := r.took.Seconds()
	r.sync.WithLabelValues(r.family).Observe(took)
	if report.Compared {
		r.syncFull.WithLabelValues(r.family).Observe(took)
	} else {
		r.syncPartial.WithLabelValues(r.family).Observe(took)
	}
	r.triggers.look(report.State.Services)
	r.served(report.State)
	if report.Err != nil {
		return
	}
	now := time.Now()
	r.lastSync.WithLabelValues(r.family).Set(seconds(now))
	for _, at := range r.triggers.take() {
		r.programming.WithLabelValues(r.family).Observe(max(0, now.Sub(at).Seconds()))
	}
	r.setInForce(report.Family, report.Changes)
}

// served shows the size of a State, and what is wrong in it.
func (r *reporter) served(state *proxier.State) {
	ports, internal, external := 0, 0, 0
	for _, s := range state.Services {
		for _, t := range s.Targets {
			ports++
			if t.Internal.Verdict == proxier.Drop {
				internal++
			}
			if t.External.Verdict == proxier.Drop {
				external++
			}
		}
	}
	r.services.WithLabelValues(r.family).Set(float64(state.Served()))
	r.servicePorts.WithLabelValues(r.family).Set(float64(ports))
	r.noLocalEndpoints.WithLabelValues("internal", r.family).Set(float64(internal))
	r.noLocalEndpoints.WithLabelValues("external", r.family).Set(float64(external))
	problems := map[string]int{}
	for _, p := range state.Problems {
		problems[p.Kind]++
		r.kinds[p.Kind] = true
	}
	for kind := range r.kinds {
		r.problems.WithLabelValues(r.family, kind).Set(float64(problems[kind]))
	}
}
