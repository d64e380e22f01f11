package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
)

// metricsRetry is how long to wait before an address that cannot be listened on
// is tried again.
const metricsRetry = 5 * time.Second

// A metricsService counts what the daemon does and serves it. A nil one, for
// dry runs, does nothing: whoever proxies in earnest has the port.
type metricsService struct {
	*metrics.Metrics
	config *config.Config
	logger klog.Logger
}

// newMetricsService also counts what clients do from now on, and the answers
// about health.
func newMetricsService(logger klog.Logger, c *config.Config, store *proxier.Store, healthy *healthService) *metricsService {
	name, _ := buildVersion()
	m := &metricsService{Metrics: metrics.New(store, name), config: c, logger: logger}
	m.ObserveRESTClients()
	if healthy != nil {
		healthy.server.Answered = m.Answered
	}
	return m
}

// watch adds to r that its passes are counted.
func (m *metricsService) watch(r *proxier.Reconciler) {
	if m != nil {
		r.Reporter = reporters{r.Reporter, m.Reporter(r.Options.Family)}
	}
}

// run serves until ctx ends. All of watch must have come before.
func (m *metricsService) run(ctx context.Context) error {
	if m == nil {
		return nil
	}
	go m.WatchStore(ctx)
	told := ""
	for {
		err := m.serve(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // what failed because it was told to end
		}
		err = fmt.Errorf("metricsBindAddress %s: %w", m.config.MetricsAddress, err)
		if m.config.BindAddressHardFail {
			return err
		}
		if err.Error() != told {
			told = err.Error()
			m.logger.Error(err, "Metrics are not served", "retry", metricsRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(metricsRetry):
		}
	}
}

func (m *metricsService) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", m.config.MetricsAddress.String())
	if err != nil {
		return err
	}
	m.logger.V(2).Info("Serving metrics", "address", listener.Addr().String())
	return metrics.Serve(ctx, listener, m.Handler(metrics.Pages{
		Mode:      func() string { return m.config.Mode },
		Config:    m.config.YAML,
		Profiling: m.config.Profiling,
	}))
}
