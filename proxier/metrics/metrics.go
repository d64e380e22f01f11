package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Metrics are the numbers of one process, on a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	store    *proxier.Store
	start    time.Time
	kubeProxyVectors
	ownVectors
	configVectors
	traffic *trafficCollector

	mu sync.Mutex
	// synced is what each family's last good pass held.
	synced map[proxier.Family]proxier.Changes
}

// New makes the metrics of a process that serves what the store holds; version
// is the program's.
func New(store *proxier.Store, version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), store: store, start: time.Now(),
		kubeProxyVectors: newKubeProxyVectors(), ownVectors: newOwnVectors(), configVectors: newConfigVectors(), traffic: newTrafficCollector(),
		synced: map[proxier.Family]proxier.Changes{},
	}
	m.registry.MustRegister(m.kubeProxyVectors.all()...)
	m.registry.MustRegister(m.ownVectors.all()...)
	m.registry.MustRegister(m.configVectors.all()...)
	m.registry.MustRegister(m.changes()...)
	m.registry.MustRegister(m.traffic)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.build.WithLabelValues(version, runtime.Version()).Set(1)
	m.configStarted(m.start)
	return m
}

// Gatherer reads the metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// familyLabel is kube-proxy's label; its values are IPv4 and IPv6.
const familyLabel = "ip_family"

// buckets are kube-proxy's for durations: 1 ms to 16 s, each twice the one before.
func buckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2, 15) }

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}
