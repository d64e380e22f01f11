package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// ObserveManifests counts the problems of the files that objects come from.
func (m *Metrics) ObserveManifests(problems func() []proxier.Problem) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "kubeproxier_manifest_problems",
		Help: "Faults of manifests and their objects because of which something is not served as it is written.",
	}, func() float64 { return float64(len(problems())) }))
}
