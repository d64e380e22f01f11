package main

import (
	"context"
	"net/http"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/listen"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// A metricsService counts what the daemon does and serves it. A nil one, for
// dry runs, does nothing: whoever proxies in earnest has the port.
type metricsService struct {
	*metrics.Metrics
	listener *listen.Server
	logger   klog.Logger
	node     nodeEvents
}

// newMetricsService also counts what clients do from now on, and the answers
// about health. It shows the configuration that is in force when it is asked.
func newMetricsService(logger klog.Logger, inForce func() *config.Config, store *proxier.Store, node nodeEvents, healthy *healthService) *metricsService {
	name, _ := buildVersion()
	m := &metricsService{Metrics: metrics.New(store, name), logger: logger, node: node}
	pages := metrics.Pages{
		Mode:      func() string { return inForce().Mode },
		Config:    func() ([]byte, error) { return inForce().JSON() },
		Profiling: func() bool { return inForce().Profiling },
	}
	m.listener = listen.At(metricsPlace(inForce()), "metricsBindAddress", func() *http.Server { return m.HTTPServer(pages) })
	m.listener.Failed = m.serverFailed
	m.ObserveRESTClients()
	if healthy != nil {
		healthy.pages.Answered = m.Answered
	}
	return m
}

func metricsPlace(c *config.Config) listen.Place {
	return listen.Place{Address: c.MetricsAddress, HardFail: c.BindAddressHardFail}
}

// reporter counts the passes over a family. All of them come before run.
func (m *metricsService) reporter(family proxier.Family) proxier.Reporter {
	if m == nil {
		return reporters{}
	}
	return m.Reporter(family)
}

// otherVariant counts a write with the variant of iptables that is not in use.
func (m *metricsService) otherVariant(family proxier.Family) {
	if m != nil {
		m.OtherVariant(family)
	}
}

// begin tells that passes are made by other dataplanes from now on, and what
// counts the traffic of Services.
func (m *metricsService) begin(pollers map[proxier.Family]*traffic.Poller) {
	if m == nil {
		return
	}
	m.Begin()
	meters := map[proxier.Family]metrics.TrafficMeter{}
	for family, poller := range pollers {
		meters[family] = poller
	}
	m.CountTraffic(meters)
}

// run serves until ctx ends.
func (m *metricsService) run(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return m.listener.Run(ctx)
}

func (m *metricsService) serverFailed(err error) {
	m.logger.Error(err, "Metrics are not served", "retry", listen.Retry, "hardFail", m.listener.Place().HardFail)
	m.node.warning("FailedToStartMetricServer", "%.500v", err)
}
