package metrics_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
)

// A stage is one family's Reconciler over a stand-in for the kernel, with
// metrics.
type stage struct {
	*testing.T
	store   *proxier.Store
	metrics *metrics.Metrics
	proxier.Reconciler
	broken bool
}

func newStage(t *testing.T) *stage {
	s := &stage{T: t, store: clustergen.Uniform(3, 2)}
	s.metrics = metrics.New(s.store, "v1.2.3")
	s.Reconciler = proxier.Reconciler{
		Store: s.store, Options: clustergen.Options(proxier.IPv4), Reporter: s.metrics.Reporter(proxier.IPv4),
		Dataplanes: []proxier.Dataplane{iptables.NewDataplane(breakable{iptablestest.New(), &s.broken}, iptables.Config{
			Options: iptables.Options{Features: iptables.AllFeatures(), MasqueradeBit: 14},
		})},
	}
	return s
}

// A breakable kernel takes no writes while broken.
type breakable struct {
	iptables.Kernel
	broken *bool
}

func (b breakable) Restore(ctx context.Context, input string) error {
	if *b.broken {
		return errors.New("broken")
	}
	return b.Kernel.Restore(ctx, input)
}

func (s *stage) pass() {
	s.Helper()
	if err := s.Sync(s.Context()); err != nil && !s.broken {
		s.Fatal(err)
	}
}

// scrape is the text of /metrics.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(metrics.Pages{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// values reads the samples of /metrics; the keys are as they stand there, such
// as name{label="value"}.
func (s *stage) values() map[string]float64 {
	s.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(scrape(s.T, s.metrics)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			name += "}"
		} else {
			name, value, _ = strings.Cut(name, " ")
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values
}

// expect compares some samples.
func (s *stage) expect(when string, want map[string]float64) {
	s.Helper()
	got := s.values()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			s.Errorf("%s: %s is %v (there: %v), want %v", when, name, g, ok, v)
		}
	}
}

const (
	passes = "kubeproxy_sync_proxy_rules_"
	family = `{ip_family="IPv4"}`
	rules  = `{dataplane="iptables",ip_family="IPv4"}`
)

func TestPassesAreCounted(t *testing.T) {
	s := newStage(t)
	s.expect("before the first pass", map[string]float64{
		passes + "service_changes_total": 3, passes + "service_changes_pending": 3,
		passes + "endpoint_changes_total": 6, passes + "endpoint_changes_pending": 6,
		passes + "duration_seconds_count" + family: 0, passes + "iptables_restore_failures_total" + family: 0,
	})
	s.pass()
	s.expect("after it", map[string]float64{
		passes + "service_changes_pending": 0, passes + "endpoint_changes_pending": 0,
		passes + "duration_seconds_count" + family:                        1,
		"kubeproxy_sync_full_proxy_rules_duration_seconds_count" + family: 1,
		"kubeproxier_build_duration_seconds_count" + family:               1,
		"kubeproxier_plan_duration_seconds_count" + rules:                 1,
		"kubeproxier_apply_duration_seconds_count" + rules:                1,
		"kubeproxier_services" + family:                                   3,
		"kubeproxier_problems" + `{ip_family="IPv4",kind="Service"}`:      0,
	})
	first := s.values()
	for _, table := range []string{"nat", "filter"} {
		total := first[passes+`iptables_total{ip_family="IPv4",table="`+table+`"}`]
		if last := first[passes+`iptables_last{ip_family="IPv4",table="`+table+`"}`]; total == 0 || last != total {
			t.Errorf("%s: the first pass wrote %v of %v rules", table, last, total)
		}
	}
	if at := first[passes+"last_timestamp_seconds"+family]; time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("the last pass was at %v", at)
	}
	if first["kubeproxier_sent_bytes_total"+rules] == 0 || first["kubeproxier_chains_written_total"+rules] == 0 {
		t.Error("nothing was written")
	}
	s.pass()
	s.expect("nothing changed", map[string]float64{
		passes + "duration_seconds_count" + family:                      2,
		"kubeproxier_apply_duration_seconds_count" + rules:              1,
		"kubeproxier_sent_bytes_total" + rules:                          first["kubeproxier_sent_bytes_total"+rules],
		passes + `iptables_last{ip_family="IPv4",table="nat"}`:          0,
		passes + `iptables_total{ip_family="IPv4",table="nat"}`:         first[passes+`iptables_total{ip_family="IPv4",table="nat"}`],
		"kubeproxy_network_programming_duration_seconds_count" + family: 0,
	})
}

func TestFailedPassesLoseNothing(t *testing.T) {
	s := newStage(t)
	s.pass()
	s.pass()
	good := s.values()[passes+"last_timestamp_seconds"+family]
	slice := clustergen.Slice(1, proxier.IPv4, 2, 1)
	slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Add(time.Minute).Format(time.RFC3339Nano)}
	s.store.SetEndpointSlice(slice)
	s.broken = true
	s.pass()
	s.expect("while it fails", map[string]float64{
		passes + "duration_seconds_count" + family:                      3,
		passes + "iptables_restore_failures_total" + family:             1,
		"kubeproxier_pass_failures_total" + rules:                       1,
		passes + "endpoint_changes_pending":                             1,
		passes + "last_timestamp_seconds" + family:                      good,
		"kubeproxy_network_programming_duration_seconds_count" + family: 0,
		"kubeproxier_refused_service_ports" + rules:                     0,
	})
	s.broken = false
	s.pass()
	s.expect("after it", map[string]float64{
		passes + "iptables_restore_failures_total" + family:             1,
		passes + "endpoint_changes_pending":                             0,
		"kubeproxy_network_programming_duration_seconds_count" + family: 1,
	})
}

// The alert KubeProxierNotSyncing compares the two times.
func TestSomethingWaitsUntilAPassSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.Progress, s.Pacer = s.metrics, proxier.Pacer{MinInterval: time.Second, MaxBackoff: time.Minute, Resync: time.Hour}
		go func() { _ = s.Reconciler.Run(t.Context()) }() // only ever the end of its context
		expect := func(when string, waits bool) {
			t.Helper()
			synctest.Wait()
			values := s.values()
			if due, done := values[passes+"last_queued_timestamp_seconds"+family], values[passes+"last_timestamp_seconds"+family]; due > done != waits {
				t.Errorf("%s: something waits: %t; a pass was due at %f, the last good one at %f", when, due > done, due, done)
			}
		}
		expect("after the start", false)
		<-time.After(time.Minute)
		s.store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 2, 1))
		expect("after a change", false)
		<-time.After(2 * time.Hour)
		expect("after a comparison", false)
		s.broken = true
		s.store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 2, 2))
		expect("while passes fail", true)
		<-time.After(10 * time.Minute)
		expect("while they go on failing", true)
		s.broken = false
		s.store.SetEndpointSlice(clustergen.Slice(1, proxier.IPv4, 2, 3))
		<-time.After(2 * time.Second) // MinInterval may count
		expect("after the repair", false)
	})
}

// TestPassesThatNeverSucceedAreSeen: of a process whose first pass fails there is
// something that an alert can compare with when it became due.
func TestPassesThatNeverSucceedAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.broken = true
		s.Progress, s.Pacer = s.metrics, proxier.Pacer{MinInterval: time.Second, MaxBackoff: time.Minute, Resync: time.Hour}
		go func() { _ = s.Reconciler.Run(t.Context()) }() // only ever the end of its context
		<-time.After(10 * time.Minute)
		synctest.Wait()
		values := s.values()
		if last, ok := values[passes+"last_timestamp_seconds"+family]; !ok || last != 0 {
			t.Errorf("the last good pass was at %f, shown: %t; want 0, shown", last, ok)
		}
		if values[passes+"last_queued_timestamp_seconds"+family] == 0 {
			t.Error("no pass was due, want one that still is")
		}
	})
}

func TestAPolicyWithoutLocalEndpointsIsCounted(t *testing.T) {
	s := newStage(t)
	local := clustergen.Service(1)
	policy := corev1.ServiceInternalTrafficPolicyLocal
	local.Spec.InternalTrafficPolicy = &policy
	s.store.SetService(local.DeepCopy())
	slice := clustergen.Slice(1, proxier.IPv4, 2, 0)
	for i := range slice.Endpoints {
		other := "other"
		slice.Endpoints[i].NodeName = &other
	}
	s.store.SetEndpointSlice(slice)
	s.pass()
	s.expect("no endpoint here", map[string]float64{
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"}`: 1,
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"}`: 0,
	})
	local.Spec.Type, local.Spec.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyLocal
	local.Spec.Ports[0].NodePort = 30080
	s.store.SetService(local.DeepCopy())
	s.pass()
	s.expect("no endpoint here for both policies", map[string]float64{
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"}`: 1,
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"}`: 1,
	})
	s.store.DeleteEndpointSlice(types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name})
	s.pass()
	s.expect("no endpoint anywhere", map[string]float64{
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"}`: 0,
		passes + `no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"}`: 0,
	})
}

func TestReportsOfFollowersDriftAndRefusals(t *testing.T) {
	s := newStage(t)
	s.pass()
	state := proxier.Build(nil, s.store.Snapshot(), s.Options)
	r := s.Reporter
	refused := []proxier.Refusal{{Target: state.Services[0].Targets[0], Err: errors.New("no")}}
	for range 2 {
		r.Synced(proxier.Report{
			Family: proxier.IPv4, Dataplane: "iptables", State: state, Plan: counted{}, Refused: refused, Last: true,
			Findings: proxier.Findings{Rules: []proxier.RuleCount{{Table: "nat"}}},
			Drift:    true, Noticed: []proxier.Drift{{Cause: proxier.Polled}}, Feud: &proxier.Feud{Wait: 4 * time.Second},
		})
	}
	for _, report := range []proxier.Report{
		{Plan: counted{}},
		{Plan: idle{}},
		{Plan: idle{}, Findings: proxier.Findings{Remembered: true}},
		{Err: errors.New("the table cannot be read")},
	} {
		report.Family, report.Dataplane, report.State, report.Following = proxier.IPv4, "conntrack", state, true
		r.Synced(report)
	}
	r.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state, Plan: counted{}, DryRun: true, Last: true})
	s.metrics.OtherVariant(proxier.IPv4)
	s.expect("made up reports", map[string]float64{
		"kubeproxier_other_variant_writes_total" + family:                                             1,
		"kubeproxier_refused_service_ports" + rules:                                                   1,
		`kubeproxier_drift_repairs_total{cause="poll",dataplane="iptables",ip_family="IPv4"}`:         2,
		`kubeproxier_drift_repairs_total{cause="notification",dataplane="iptables",ip_family="IPv4"}`: 0,
		"kubeproxier_drift_repair_wait_seconds" + rules:                                               4,
		passes + "iptables_restore_failures_total" + family:                                           1,
		passes + "iptables_partial_restore_failures_total" + family:                                   1,
		"kubeproxy_conntrack_reconciler_deleted_entries_total" + family:                               7,
		"kubeproxy_conntrack_reconciler_sync_duration_seconds_count" + family:                         3,
		passes + "duration_seconds_count" + family:                                                    3,
	})
}

// In another mode nobody would report a former dataplane any more.
func TestAFeudEndsWithItsDataplanes(t *testing.T) {
	s := newStage(t)
	state := proxier.Build(nil, s.store.Snapshot(), s.Options)
	s.Reporter.Synced(proxier.Report{
		Family: proxier.IPv4, Dataplane: "iptables", State: state, Plan: counted{}, Feud: &proxier.Feud{Wait: 4 * time.Second}, Last: true,
	})
	const wait = "kubeproxier_drift_repair_wait_seconds" + rules
	s.expect("a feud", map[string]float64{wait: 4})
	s.metrics.Begin()
	if left, there := s.values()[wait]; there {
		t.Errorf("%s is still %v", wait, left)
	}
}

// counted is a plan that has seven flows.
type counted struct{ proxier.Plan }

func (counted) Empty() bool              { return false }
func (counted) Summary() proxier.Summary { return proxier.Summary{Flows: 7} }

// idle is a plan with nothing to do.
type idle struct{ proxier.Plan }

func (idle) Empty() bool              { return true }
func (idle) Summary() proxier.Summary { return proxier.Summary{} }

// The bounds are kube-proxy's: quantiles of both can be compared, and summed up
// over a cluster that has both.
func TestBucketsAreKubeProxys(t *testing.T) {
	exponential := []float64{.001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1.024, 2.048, 4.096, 8.192, 16.384}
	programming := []float64{.25, .5}
	for second := 1; second < 60; second++ {
		programming = append(programming, float64(second))
	}
	programming = append(programming, 60, 65, 70, 75, 80, 85, 90, 95, 100, 105, 110, 115, 120, 150, 180, 210, 240, 270, 300)
	values := newStage(t).values()
	for name, want := range map[string][]float64{
		passes + "duration_seconds":                      exponential,
		"kubeproxy_network_programming_duration_seconds": programming,
	} {
		var got []float64
		for sample := range values {
			if text, ok := strings.CutPrefix(sample, name+`_bucket{ip_family="IPv4",le="`); ok {
				bound, err := strconv.ParseFloat(strings.TrimSuffix(text, `"}`), 64)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, bound)
			}
		}
		slices.Sort(got)
		if want = append(want, math.Inf(1)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestASuddenLossIsCounted(t *testing.T) {
	s := newStage(t)
	state := proxier.Build(nil, s.store.Snapshot(), s.Options)
	s.expect("before", map[string]float64{"kubeproxier_sudden_losses_total" + family: 0})
	s.Reporter.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state, Err: errors.New("failed"), Loss: &proxier.Loss{Before: 99}, Last: true})
	s.expect("after", map[string]float64{"kubeproxier_sudden_losses_total" + family: 1})
}
