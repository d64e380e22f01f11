package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/health"
)

// stallPeriods is how many sync periods work may wait before a family is
// unhealthy, as in kube-proxy.
const stallPeriods = 2

// A healthService is all that tells of the daemon's health. A nil one, for dry
// runs, does nothing: whoever proxies in earnest has the ports.
type healthService struct {
	health   *health.Health
	server   *health.Server
	logger   klog.Logger
	recorder events.EventRecorder // may be nil
	node     string
}

func newHealthService(logger klog.Logger, c *config.Config, store *proxier.Store, recorder events.EventRecorder, manifests bool) *healthService {
	h := &healthService{health: health.New(stallPeriods * c.SyncPeriod), logger: logger, recorder: recorder, node: c.NodeName}
	h.server = &health.Server{
		Address: c.HealthzAddress, HardFail: c.BindAddressHardFail, Health: h.health, Failed: h.serverFailed,
		Status: &health.Status{Version: versionText(), Node: c.NodeName, Mode: c.Mode},
		Eligibility: func() proxier.Eligibility {
			e := store.Eligibility()
			if manifests && e == proxier.NodeMissing {
				return proxier.Eligible // outside of a cluster nodes need no objects
			}
			return e
		},
	}
	return h
}

// watch adds to r what it has to tell of its passes.
func (h *healthService) watch(r *proxier.Reconciler) {
	if h == nil {
		return
	}
	checks := &health.Checks{Family: r.Options.Family, Healthy: h.health.Healthy, Failed: h.checkFailed}
	h.server.Status.Checks = append(h.server.Status.Checks, checks)
	r.Progress = health.Progress{Health: h.health, Checks: checks}
	r.Reporter = reporters{r.Reporter, h.server.Status}
}

// run serves until ctx ends. All of watch must have come before.
func (h *healthService) run(ctx context.Context) error {
	if h == nil {
		return nil
	}
	return h.server.Run(ctx)
}

func (h *healthService) serverFailed(err error) {
	h.logger.Error(err, "Health is not served", "retry", health.Retry, "hardFail", h.server.HardFail)
	if h.recorder != nil {
		h.recorder.Eventf(nodeReference(h.node), nil, corev1.EventTypeWarning, "FailedToStartProxierHealthcheck", "StartKubeProxier", "%.500v", err)
	}
}

func (h *healthService) checkFailed(service *corev1.Service, port uint16, err error) {
	h.logger.Error(err, "A health check node port is not served; it is tried again", "service", klog.KObj(service), "port", port)
	if h.recorder != nil {
		reference := &corev1.ObjectReference{
			APIVersion: "v1", Kind: "Service", Namespace: service.Namespace, Name: service.Name, UID: service.UID,
		}
		h.recorder.Eventf(reference, nil, corev1.EventTypeWarning, "FailedToStartServiceHealthcheck", "Listen",
			"node %s: %.500v", h.node, err)
	}
}
