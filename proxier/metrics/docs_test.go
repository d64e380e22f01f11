package metrics_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
)

// everythingOnce keeps what everything has found: client-go takes the metrics of
// the first only, however often the tests run.
var everythingOnce struct {
	sync.Once
	text string
}

// everything is /metrics of a process to which everything has happened that has
// a metric.
func everything(t *testing.T) string {
	t.Helper()
	everythingOnce.Do(func() { everythingOnce.text = scrapeEverything(t) })
	return everythingOnce.text
}

func scrapeEverything(t *testing.T) string {
	t.Helper()
	s := newStage(t)
	s.metrics.ObserveRESTClients()
	s.metrics.ObserveAPI(func() (time.Time, string) { return time.Time{}, "" })
	s.metrics.ObserveManifests(func() []proxier.Problem { return nil })
	s.metrics.Due(proxier.IPv4)
	s.pass()
	slice := clustergen.Slice(1, proxier.IPv4, 2, 1)
	slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Add(time.Minute).Format(time.RFC3339Nano)}
	s.store.SetEndpointSlice(slice)
	s.pass()
	s.pass()
	state := proxier.Build(nil, s.store.Snapshot(), s.Options)
	s.Reporter.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "conntrack", State: state, Plan: counted{}, Following: true})
	s.Reporter.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: state, Err: errors.New("failed"), Last: true})
	s.Reporter.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "ipvs", State: state, Plan: counted{}, Findings: drains()})
	s.metrics.CountTraffic(map[proxier.Family]metrics.TrafficMeter{
		proxier.IPv4: &meter{totals: someTraffic(), volume: true, asked: 1},
	})
	s.metrics.Answered("/healthz", 503)
	s.metrics.Answered("/livez", 200)
	askAnAPIServer(t)
	return scrape(t, s.metrics)
}

// askAnAPIServer makes a request that is told to come again, and does.
func askAnAPIServer(t *testing.T) {
	t.Helper()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"major":"1","minor":"36"}`))
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: strings.Replace(server.URL, "127.0.0.1", "localhost", 1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Discovery().ServerVersion(); err != nil {
		t.Fatal(err)
	}
}

// A metric is its type and, sorted, the labels it has.
type metric struct{ Type, Labels string }

var (
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
	sampleLine = regexp.MustCompile(`^([a-z_0-9]+?)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`([a-z_]+)="`)
	tableRow   = regexp.MustCompile("^\\| `([a-z_0-9]+)` \\| (counter|gauge|histogram) \\| (.*?) ?\\|")
)

// served reads them from Prometheus' text format.
func served(t *testing.T, text string) map[string]metric {
	t.Helper()
	found := map[string]metric{}
	name := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := typeLine.FindStringSubmatch(line); m != nil {
			name = m[1]
			found[name] = metric{Type: m[2]}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || !strings.HasPrefix(m[1], name) {
			continue
		}
		var labels []string
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		found[name] = metric{found[name].Type, strings.Join(labels, " ")}
	}
	return found
}

// documented reads them from the tables of the page.
func documented(t *testing.T) map[string]metric {
	t.Helper()
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]metric{}
	for line := range strings.Lines(string(page)) {
		if m := tableRow.FindStringSubmatch(line); m != nil {
			labels := strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(m[3]))
			found[m[1]] = metric{m[2], strings.Join(labels, " ")}
		}
	}
	return found
}

func TestThePageListsWhatIsServed(t *testing.T) {
	text := everything(t)
	got := served(t, text)
	mixin(t, text)
	foreign := func(name string, _ metric) bool {
		return strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_")
	}
	maps.DeleteFunc(got, foreign)
	if diff := cmp.Diff(documented(t), got); diff != "" {
		t.Errorf("docs/metrics.md (-) and /metrics (+) differ:\n%s", diff)
	}
}

// mixin looks for what the dashboards and alerts of kubernetes-mixin ask for.
func mixin(t *testing.T, text string) {
	t.Helper()
	for _, sample := range []string{
		"kubeproxy_sync_proxy_rules_duration_seconds_count{",
		"kubeproxy_sync_proxy_rules_duration_seconds_bucket{",
		"kubeproxy_network_programming_duration_seconds_count{",
		"kubeproxy_network_programming_duration_seconds_bucket{",
		`rest_client_requests_total{code="200"`, `rest_client_requests_total{code="429"`,
		"rest_client_request_duration_seconds_bucket{host=",
		"process_resident_memory_bytes ", "process_cpu_seconds_total ", "go_goroutines ",
	} {
		if !strings.Contains(text, "\n"+sample) {
			t.Errorf("/metrics has no sample %s", sample)
		}
	}
	if !regexp.MustCompile(`rest_client_request_duration_seconds_bucket\{[^}]*verb="GET"`).MatchString(text) {
		t.Error("durations of requests are not told apart by verb")
	}
}
