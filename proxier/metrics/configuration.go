package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// configVectors are the metrics of the configuration in force. None of them is
// kube-proxy's, which ends when its file changes.
type configVectors struct {
	reloads                         *prometheus.CounterVec
	successful, since, needsRestart *prometheus.GaugeVec
}

func newConfigVectors() configVectors {
	const p = "kubeproxier_config_"
	v := configVectors{
		reloads:      counter(p+"reloads_total", "Changes of the configuration file that were applied or refused.", "result"),
		successful:   gauge(p+"last_reload_successful", "1 if the configuration file, as it is now, is in force but for what needs a restart; 0 if it is refused."),
		since:        gauge(p+"last_reload_success_timestamp_seconds", "Unix time when the configuration in force came into force."),
		needsRestart: gauge(p+"restart_needed_fields", "Fields of the configuration file that were changed and do not count before a restart."),
	}
	v.reloads.WithLabelValues("applied")
	v.reloads.WithLabelValues("refused")
	return v
}

func (v *configVectors) all() []prometheus.Collector {
	return []prometheus.Collector{v.reloads, v.successful, v.since, v.needsRestart}
}

// configStarted notes the configuration that the process starts with.
func (m *Metrics) configStarted(at time.Time) {
	m.successful.WithLabelValues().Set(1)
	m.since.WithLabelValues().Set(seconds(at))
	m.needsRestart.WithLabelValues().Set(0)
}

// ConfigApplied counts a change of the configuration that is in force now.
func (m *Metrics) ConfigApplied(at time.Time) {
	m.reloads.WithLabelValues("applied").Inc()
	m.since.WithLabelValues().Set(seconds(at))
}

// ConfigRefused counts one that is not.
func (m *Metrics) ConfigRefused() {
	m.reloads.WithLabelValues("refused").Inc()
	m.successful.WithLabelValues().Set(0)
}

// ConfigAsWritten notes that nothing of the file is refused; that many fields
// need a restart.
func (m *Metrics) ConfigAsWritten(needsRestart int) {
	m.successful.WithLabelValues().Set(1)
	m.needsRestart.WithLabelValues().Set(float64(needsRestart))
}
