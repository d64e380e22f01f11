package metrics_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// A meter has counted something.
type meter struct {
	totals traffic.Totals
	volume bool
	asked  int
}

func (m *meter) Ask() { m.asked++ }
func (m *meter) Await(context.Context) (traffic.Totals, time.Time, bool) {
	return m.totals, time.Unix(1000, 0), m.asked > 1
}
func (m *meter) Volume() bool { return m.volume }

// someTraffic is that of two ports, and of Services that are not shown.
func someTraffic() traffic.Totals {
	total := func(port string, number uint16, protocol corev1.Protocol, counts traffic.Counts) traffic.Total {
		name := proxier.ServicePortName{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "web"}, Port: port, Protocol: protocol}
		return traffic.Total{Port: traffic.Port{ServicePortName: name, Number: number}, Counts: counts}
	}
	return traffic.Totals{
		Ports: []traffic.Total{
			total("", 80, corev1.ProtocolTCP, traffic.Counts{Connections: 1, PacketsIn: 2, PacketsOut: 3, BytesIn: 4, BytesOut: 5}),
			total("dns", 53, corev1.ProtocolUDP, traffic.Counts{}),
		},
		Others: traffic.Counts{Connections: 7}, Hidden: 2,
	}
}

// trafficSamples are those of /metrics.
func (s *stage) trafficSamples() map[string]float64 {
	values := s.values()
	maps.DeleteFunc(values, func(name string, _ float64) bool {
		return !strings.HasPrefix(name, "kubeproxier_service_")
	})
	return values
}

func TestTrafficIsShown(t *testing.T) {
	s := newStage(t)
	if got := s.trafficSamples(); len(got) > 0 {
		t.Errorf("there is traffic, though nobody counts: %v", got)
	}
	v4 := &meter{totals: someTraffic()}
	s.metrics.CountTraffic(map[proxier.Family]metrics.TrafficMeter{proxier.IPv4: v4})
	if got := s.trafficSamples(); len(got) > 0 {
		t.Errorf("there is traffic, though nothing was read: %v", got)
	}
	const web = `,namespace="shop",port="80",protocol="TCP",service="web"}`
	want := map[string]float64{
		`kubeproxier_service_connections_total{ip_family="IPv4"` + web:                                                     1,
		`kubeproxier_service_connections_total{ip_family="IPv4",namespace="shop",port="dns",protocol="UDP",service="web"}`: 0,
		`kubeproxier_service_connections_total{ip_family="IPv4",namespace="",port="",protocol="",service=""}`:              7,
		`kubeproxier_service_traffic_hidden_services{ip_family="IPv4"}`:                                                    2,
		`kubeproxier_service_traffic_last_read_timestamp_seconds{ip_family="IPv4"}`:                                        1000,
	}
	if diff := cmp.Diff(want, s.trafficSamples()); diff != "" {
		t.Errorf("connections only (-want +have)\n%s", diff)
	}

	totals := someTraffic()
	totals.Ports, totals.Others, totals.Hidden = totals.Ports[:1], traffic.Counts{}, 0
	v6 := &meter{totals: totals, volume: true, asked: 1}
	s.metrics.CountTraffic(map[proxier.Family]metrics.TrafficMeter{proxier.IPv6: v6})
	want = map[string]float64{
		`kubeproxier_service_connections_total{ip_family="IPv6"` + web:              1,
		`kubeproxier_service_packets_total{direction="in",ip_family="IPv6"` + web:   2,
		`kubeproxier_service_packets_total{direction="out",ip_family="IPv6"` + web:  3,
		`kubeproxier_service_bytes_total{direction="in",ip_family="IPv6"` + web:     4,
		`kubeproxier_service_bytes_total{direction="out",ip_family="IPv6"` + web:    5,
		`kubeproxier_service_traffic_hidden_services{ip_family="IPv6"}`:             0,
		`kubeproxier_service_traffic_last_read_timestamp_seconds{ip_family="IPv6"}`: 1000,
	}
	if diff := cmp.Diff(want, s.trafficSamples()); diff != "" {
		t.Errorf("packets and bytes too, and nothing hidden (-want +have)\n%s", diff)
	}
}

// A slow meter has counted something, and reads for an hour.
type slowMeter struct{ meter }

func (m *slowMeter) Await(ctx context.Context) (traffic.Totals, time.Time, bool) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Hour):
	}
	return m.meter.Await(ctx)
}

// One family after the other would make it two seconds.
func TestAScrapeWaitsASecondForTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		meters := map[proxier.Family]metrics.TrafficMeter{}
		for _, family := range proxier.Families {
			meters[family] = &slowMeter{meter{totals: someTraffic(), asked: 1}}
		}
		s.metrics.CountTraffic(meters)
		begin := time.Now()
		samples := s.trafficSamples()
		if took := time.Since(begin); took != time.Second || len(samples) == 0 {
			t.Errorf("%d samples after %v, want those of before after a second", len(samples), took)
		}
	})
}

// drains are the findings of a plan of virtual servers.
func drains() proxier.Findings {
	return proxier.Findings{Drains: &proxier.Drains{Draining: 5, Ended: 4, TimedOut: 3, Returned: 2, Deleted: 1}}
}

func TestDrainsAreCounted(t *testing.T) {
	s := newStage(t)
	report := proxier.Report{Family: proxier.IPv4, Dataplane: "ipvs", State: proxier.Build(nil, s.store.Snapshot(), s.Options), Plan: counted{}, Findings: drains()}
	for range 2 {
		s.Reporter.Synced(report)
	}
	const drained = `kubeproxier_drained_endpoints_total{ip_family="IPv4",reason="`
	s.expect("two reports", map[string]float64{
		"kubeproxier_draining_endpoints" + family: 5,
		drained + `ended"}`:                       8,
		drained + `timeout"}`:                     6,
		drained + `returned"}`:                    4,
		drained + `deleted"}`:                     2,
	})
	s.metrics.Begin() // in another mode nothing drains
	if _, there := s.values()["kubeproxier_draining_endpoints"+family]; there {
		t.Error("endpoints of the former dataplanes still drain")
	}
}
