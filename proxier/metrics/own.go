package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// ownVectors are the metrics that kube-proxy has not.
type ownVectors struct {
	build                      *prometheus.GaugeVec
	building, planning, apply  *prometheus.HistogramVec
	failures, drift, losses    *prometheus.CounterVec
	otherVariant               *prometheus.CounterVec
	chains, deleted, ruleLines *prometheus.CounterVec
	sent                       *prometheus.CounterVec
	refused, problems, feud    *prometheus.GaugeVec
	services, servicePorts     *prometheus.GaugeVec
	draining                   *prometheus.GaugeVec
	drained                    *prometheus.CounterVec
}

func newOwnVectors() ownVectors {
	const (
		p         = "kubeproxier_"
		dataplane = "dataplane"
	)
	return ownVectors{
		build:        gauge(p+"build_info", "Always 1; the labels say which program this is.", "version", "goversion"),
		building:     histogram(p+"build_duration_seconds", "Time that deciding what to serve took in one pass.", buckets(), familyLabel),
		planning:     histogram(p+"plan_duration_seconds", "Time that comparing with the kernel took in one pass.", buckets(), familyLabel, dataplane),
		apply:        histogram(p+"apply_duration_seconds", "Time that writing to the kernel took in one pass that had something to write.", buckets(), familyLabel, dataplane),
		failures:     counter(p+"pass_failures_total", "Passes that failed.", familyLabel, dataplane),
		drift:        counter(p+"drift_repairs_total", "Passes that repaired what somebody else had changed in the kernel, by how it was noticed.", familyLabel, dataplane, "cause"),
		feud:         gauge(p+"drift_repair_wait_seconds", "Time between repairs while somebody keeps changing what is repaired, else 0.", familyLabel, dataplane),
		otherVariant: counter(p+"other_variant_writes_total", "Times that somebody wrote a Service proxy's chains with the variant of iptables that is not in use.", familyLabel),
		losses:       counter(p+"sudden_losses_total", "Passes in which nearly all Services that were served ceased to be, because their objects or endpoints had gone.", familyLabel),
		chains:       counter(p+"chains_written_total", "Chains written; by other dataplanes virtual servers written, and sets made.", familyLabel, dataplane),
		deleted:      counter(p+"chains_deleted_total", "Chains deleted; by other dataplanes virtual and real servers, sets and addresses.", familyLabel, dataplane),
		ruleLines:    counter(p+"rules_written_total", "Rules written; by other dataplanes real servers and addresses written, and entries of sets added or deleted.", familyLabel, dataplane),
		sent:         counter(p+"sent_bytes_total", "Bytes of the plans that were applied.", familyLabel, dataplane),
		refused:      gauge(p+"refused_service_ports", "Service ports that are not served, because the kernel refuses their rules.", familyLabel, dataplane),
		problems:     gauge(p+"problems", "Faults of objects because of which something is not served as it is written.", familyLabel, "kind"),
		services:     gauge(p+"services", "Services that are served: those with a port in this family.", familyLabel),
		servicePorts: gauge(p+"service_ports", "Ports of the Services that are served.", familyLabel),
		draining:     gauge(p+"draining_endpoints", "Endpoints behind frontends that get no new connections and keep those they have.", familyLabel),
		drained:      counter(p+"drained_endpoints_total", "Endpoints behind frontends that drain no more, by why.", familyLabel, "reason"),
	}
}

func (v *ownVectors) all() []prometheus.Collector {
	return []prometheus.Collector{
		v.build, v.building, v.planning, v.apply, v.failures, v.drift, v.feud, v.losses, v.otherVariant, v.chains, v.deleted, v.ruleLines, v.sent,
		v.refused, v.problems, v.services, v.servicePorts, v.draining, v.drained,
	}
}
