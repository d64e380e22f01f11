package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// kubeProxyVectors are the metrics that kube-proxy has, too.
type kubeProxyVectors struct {
	sync, syncFull, syncPartial *prometheus.HistogramVec
	lastSync, lastQueued        *prometheus.GaugeVec
	programming                 *prometheus.HistogramVec
	noLocalEndpoints            *prometheus.GaugeVec
	restoreFailures             *prometheus.CounterVec
	partialRestoreFailures      *prometheus.CounterVec
	rules, rulesLast            *prometheus.GaugeVec
	conntrack                   *prometheus.HistogramVec
	conntrackDeleted            *prometheus.CounterVec
	healthz, livez              *prometheus.CounterVec
}

func newKubeProxyVectors() kubeProxyVectors {
	const sync = "kubeproxy_sync_proxy_rules_"
	return kubeProxyVectors{
		sync: histogram(sync+"duration_seconds", "Duration of passes, failed ones included.", buckets(), familyLabel),
		syncFull: histogram("kubeproxy_sync_full_proxy_rules_duration_seconds",
			"Duration of passes that compared with the kernel itself.", buckets(), familyLabel),
		syncPartial: histogram("kubeproxy_sync_partial_proxy_rules_duration_seconds",
			"Duration of passes that compared with what was written before.", buckets(), familyLabel),
		lastSync:   gauge(sync+"last_timestamp_seconds", "Unix time of the last pass that succeeded.", familyLabel),
		lastQueued: gauge(sync+"last_queued_timestamp_seconds", "Unix time when a pass last became due.", familyLabel),
		programming: histogram("kubeproxy_network_programming_duration_seconds",
			"Time from the trigger that an EndpointSlice is annotated with until it is in force.", programmingBuckets(), familyLabel),
		noLocalEndpoints: gauge(sync+"no_local_endpoints_total",
			"Service ports whose traffic policy is Local, with endpoints on other nodes only.", "traffic_policy", familyLabel),
		restoreFailures: counter(sync+"iptables_restore_failures_total",
			"Passes in which iptables-restore failed, or refused Service ports it had not refused before.", familyLabel),
		partialRestoreFailures: counter(sync+"iptables_partial_restore_failures_total",
			"Those of iptables_restore_failures_total that compared with what was written before.", familyLabel),
		rules:            gauge(sync+"iptables_total", "iptables rules that are ours.", "table", familyLabel),
		rulesLast:        gauge(sync+"iptables_last", "iptables rules the last pass wrote.", "table", familyLabel),
		conntrack:        histogram("kubeproxy_conntrack_reconciler_sync_duration_seconds", "Duration of one look for tracked connections to delete.", buckets(), familyLabel),
		conntrackDeleted: counter("kubeproxy_conntrack_reconciler_deleted_entries_total", "Tracked connections deleted.", familyLabel),
		healthz:          counter("kubeproxy_proxy_healthz_total", "Answers of /healthz of the health server.", "code"),
		livez:            counter("kubeproxy_proxy_livez_total", "Answers of /livez of the health server.", "code"),
	}
}

func (v *kubeProxyVectors) all() []prometheus.Collector {
	return []prometheus.Collector{
		v.sync, v.syncFull, v.syncPartial, v.lastSync, v.lastQueued, v.programming, v.noLocalEndpoints,
		v.restoreFailures, v.partialRestoreFailures, v.rules, v.rulesLast, v.conntrack, v.conntrackDeleted, v.healthz, v.livez,
	}
}

// programmingBuckets are kube-proxy's: 0.25 s, 0.5 s, each second of the first
// minute, every 5 s of the second, every 30 s up to five minutes.
func programmingBuckets() []float64 {
	b := []float64{0.25, 0.5}
	b = append(b, prometheus.LinearBuckets(1, 1, 59)...)
	b = append(b, prometheus.LinearBuckets(60, 5, 12)...)
	return append(b, prometheus.LinearBuckets(120, 30, 7)...)
}
