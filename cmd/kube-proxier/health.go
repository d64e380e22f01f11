package main

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/preflight"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/health"
	"github.com/kube-proxier/kube-proxier/proxier/listen"
)

// stallPeriods is how many sync periods work may wait before a family is
// unhealthy, as in kube-proxy.
const stallPeriods = 2

// A healthService is all that tells of the daemon's health. A nil one, for dry
// runs, does nothing: whoever proxies in earnest has the ports.
type healthService struct {
	health   *health.Health
	pages    *health.Server
	listener *listen.Server
	families map[proxier.Family]proxier.Progress
	logger   klog.Logger
	node     nodeEvents
}

func newHealthService(logger klog.Logger, c *config.Config, store *proxier.Store, node nodeEvents, manifests bool) *healthService {
	h := &healthService{
		health: health.New(stallPeriods * c.SyncPeriod), families: map[proxier.Family]proxier.Progress{},
		logger: logger, node: node,
	}
	h.pages = &health.Server{
		Health: h.health,
		Status: &health.Status{Version: versionText(), Node: c.NodeName},
		Eligibility: func() proxier.Eligibility {
			e := store.Eligibility()
			if manifests && e == proxier.NodeMissing {
				e = proxier.Eligible // outside of a cluster nodes need no objects
			}
			if e == proxier.Eligible && !h.health.Begun() {
				return proxier.NothingServed
			}
			return e
		},
	}
	h.listener = listen.At(healthPlace(c), "healthzBindAddress", h.pages.HTTPServer)
	h.listener.Failed = h.serverFailed
	return h
}

func healthPlace(c *config.Config) listen.Place {
	return listen.Place{Address: c.HealthzAddress, HardFail: c.BindAddressHardFail}
}

// found shows what was found at the start.
func (h *healthService) found(findings []preflight.Finding) {
	if h != nil && len(findings) > 0 {
		h.pages.Status.Findings = findings
	}
}

// add adds a family. All of them come before run.
func (h *healthService) add(family proxier.Family) {
	if h == nil {
		return
	}
	checks := &health.Checks{Family: family, Healthy: h.health.Healthy, Failed: h.checkFailed, Addresses: ownAddresses}
	h.pages.Status.Checks = append(h.pages.Status.Checks, checks)
	h.families[family] = health.Progress{Health: h.health, Checks: checks}
}

// ownAddresses are this host's, without those of Services on kube-ipvs0.
func ownAddresses() ([]netip.Addr, error) { return device.Netlink{}.OwnAddresses(context.Background()) }

// progress is who is told of the passes over a family as a whole.
func (h *healthService) progress(family proxier.Family) proxier.Progress {
	if h == nil {
		return nil
	}
	return h.families[family]
}

// reporter keeps the status.
func (h *healthService) reporter() proxier.Reporter {
	if h == nil {
		return reporters{}
	}
	return h.pages.Status
}

// otherVariant shows what somebody writes with the variant of iptables that is
// not in use.
func (h *healthService) otherVariant(family proxier.Family, variant string, d proxier.Drift) {
	if h != nil {
		h.pages.Status.OtherVariant(family, variant, d)
	}
}

// begin tells that passes are made as c says from now on. What waits, goes on
// waiting: a change of the configuration heals nothing by itself.
func (h *healthService) begin(c *config.Config) {
	if h != nil {
		h.health.SetTimeout(stallPeriods * c.SyncPeriod)
		h.pages.Status.Begin(c.Mode)
	}
}

// run serves until ctx ends.
func (h *healthService) run(ctx context.Context) error {
	if h == nil {
		return nil
	}
	return h.listener.Run(ctx)
}

func (h *healthService) serverFailed(err error) {
	h.logger.Error(err, "Health is not served", "retry", listen.Retry, "hardFail", h.listener.Place().HardFail)
	h.node.warning("FailedToStartProxierHealthcheck", "%.500v", err)
}

func (h *healthService) checkFailed(service *corev1.Service, port uint16, err error) {
	h.logger.Error(err, "A health check node port is not served; it is tried again", "service", klog.KObj(service), "port", port)
	if h.node.recorder != nil {
		reference := &corev1.ObjectReference{
			APIVersion: "v1", Kind: "Service", Namespace: service.Namespace, Name: service.Name, UID: service.UID,
		}
		h.node.recorder.Eventf(reference, corev1.EventTypeWarning, "FailedToStartServiceHealthcheck",
			"node %s: %.500v", h.node.name, err)
	}
}
