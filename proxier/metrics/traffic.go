package metrics

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// A TrafficMeter knows what has passed through the Services of one family.
type TrafficMeter interface {
	// Ask asks for a new look at the kernel; it does not wait.
	Ask()
	// Await waits for what was asked for until ctx ends, and returns what was counted
	// and when that was; false where nothing was yet.
	Await(ctx context.Context) (traffic.Totals, time.Time, bool)
	// Volume reports whether packets and bytes are counted, beside connections.
	Volume() bool
}

// CountTraffic shows what these count from now on, and nothing of those before;
// nil for nothing.
func (m *Metrics) CountTraffic(meters map[proxier.Family]TrafficMeter) {
	m.traffic.mu.Lock()
	defer m.traffic.mu.Unlock()
	m.traffic.meters = meters
}

// A trafficCollector asks the meters when somebody asks for metrics.
type trafficCollector struct {
	connections, packets, bytes, hidden, read *prometheus.Desc

	mu     sync.Mutex
	meters map[proxier.Family]TrafficMeter
}

func newTrafficCollector() *trafficCollector {
	const p = "kubeproxier_service_"
	ofPort := []string{familyLabel, "namespace", "service", "port", "protocol"}
	volume := append(ofPort, "direction")
	return &trafficCollector{
		connections: prometheus.NewDesc(p+"connections_total", "Connections sent to an endpoint.", ofPort, nil),
		packets:     prometheus.NewDesc(p+"packets_total", "Packets from and to clients.", volume, nil),
		bytes:       prometheus.NewDesc(p+"bytes_total", "Bytes from and to clients, with IP headers.", volume, nil),
		hidden:      prometheus.NewDesc(p+"traffic_hidden_services", "Services whose traffic is not shown by name, but in a sum.", []string{familyLabel}, nil),
		read:        prometheus.NewDesc(p+"traffic_last_read_timestamp_seconds", "Unix time of the last look at the kernel's counters.", []string{familyLabel}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *trafficCollector) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connections, c.packets, c.bytes, c.hidden, c.read} {
		all <- d
	}
}

// Collect implements prometheus.Collector.
func (c *trafficCollector) Collect(all chan<- prometheus.Metric) {
	c.mu.Lock()
	meters := c.meters
	c.mu.Unlock()
	for _, meter := range meters {
		meter.Ask()
	}
	patience, cancel := context.WithTimeout(context.Background(), traffic.Patience) // for all
	defer cancel()
	for family, meter := range meters {
		totals, at, ok := meter.Await(patience)
		if !ok {
			continue
		}
		s := series{c, all, string(family), meter.Volume()}
		for _, t := range totals.Ports {
			s.count(t.Counts, t.Namespace, t.Name, portLabel(t.Port), string(t.Protocol))
		}
		if totals.Hidden > 0 || totals.Others != (traffic.Counts{}) {
			s.count(totals.Others, "", "", "", "")
		}
		all <- prometheus.MustNewConstMetric(c.hidden, prometheus.GaugeValue, float64(totals.Hidden), s.family)
		all <- prometheus.MustNewConstMetric(c.read, prometheus.GaugeValue, seconds(at), s.family)
	}
}

// portLabel is the port's name, or its number where it has none.
func portLabel(p traffic.Port) string {
	if p.ServicePortName.Port != "" {
		return p.ServicePortName.Port
	}
	return strconv.Itoa(int(p.Number))
}

// series are those of one family.
type series struct {
	*trafficCollector
	all    chan<- prometheus.Metric
	family string
	volume bool
}

// count sends the samples of one Service port.
func (s series) count(c traffic.Counts, namespace, service, port, protocol string) {
	add := func(desc *prometheus.Desc, n uint64, direction ...string) {
		labels := append([]string{s.family, namespace, service, port, protocol}, direction...)
		s.all <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	add(s.connections, c.Connections)
	if !s.volume {
		return
	}
	add(s.packets, c.PacketsIn, "in")
	add(s.packets, c.PacketsOut, "out")
	add(s.bytes, c.BytesIn, "in")
	add(s.bytes, c.BytesOut, "out")
}
