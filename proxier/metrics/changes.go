package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// changes are the metrics read from the store when somebody asks.
func (m *Metrics) changes() []prometheus.Collector {
	const sync = "kubeproxy_sync_proxy_rules_"
	services := func(c proxier.Changes) int { return c.Services }
	endpoints := func(c proxier.Changes) int { return c.Endpoints }
	total := func(name, what string, of func(proxier.Changes) int) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: sync + name + "_changes_total", Help: "Changes of " + what + " that make a difference to what is served."},
			func() float64 { return float64(of(m.store.Changes())) })
	}
	pending := func(name, what string, of func(proxier.Changes) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: sync + name + "_changes_pending", Help: "Those changes of " + what + " that are not in force yet in some IP family."},
			func() float64 { return float64(of(m.store.Changes()) - m.inForce(of)) })
	}
	return []prometheus.Collector{
		total("service", "Services", services), pending("service", "Services", services),
		total("endpoint", "EndpointSlices", endpoints), pending("endpoint", "EndpointSlices", endpoints),
	}
}

// inForce counts the changes that all families have.
func (m *Metrics) inForce(of func(proxier.Changes) int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	least, first := 0, true
	for _, changes := range m.synced {
		if n := of(changes); first || n < least {
			least, first = n, false
		}
	}
	return least
}

// setInForce takes note of what a family's pass has brought into force.
func (m *Metrics) setInForce(family proxier.Family, changes proxier.Changes) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced[family] = changes
}

// Due notes when a pass is due. It is told so before the pass, so that the time
// is later than that of the last good pass as long as something waits, and only
// then.
func (m *Metrics) Due(family proxier.Family) {
	m.lastQueued.WithLabelValues(string(family)).Set(seconds(time.Now()))
}

// Done is for proxier.Progress: a Reporter tells more.
func (*Metrics) Done(*proxier.State, []proxier.Refusal, error) {}

// seconds is t as Unix time.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
