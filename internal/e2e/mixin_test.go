package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// hasSample reports whether a line of a scrape begins so.
func hasSample(text, begin string) bool { return strings.Contains("\n"+text, "\n"+begin) }

// mixinPanels are the series that the panels of kubernetes-mixin's dashboard for
// kube-proxy select (dashboards/proxy.libsonnet), without the labels that a
// scrape adds. Its alerts ask for "up" only, which is the scrape's as well.
var mixinPanels = map[string]struct{ metric, label, value string }{
	"Rules Sync Rate":                            {metric: "kubeproxy_sync_proxy_rules_duration_seconds_count"},
	"Rule Sync Latency 99th Quantile":            {"kubeproxy_sync_proxy_rules_duration_seconds_bucket", "le", ".+"},
	"Network Programming Rate":                   {metric: "kubeproxy_network_programming_duration_seconds_count"},
	"Network Programming Latency 99th Quantile":  {"kubeproxy_network_programming_duration_seconds_bucket", "le", ".+"},
	"Kube API Request Rate, 2xx":                 {"rest_client_requests_total", "code", "2.."},
	"Post Request Latency 99th Quantile":         {"rest_client_request_duration_seconds_bucket", "verb", "POST"},
	"Get Request Latency 99th Quantile":          {"rest_client_request_duration_seconds_bucket", "verb", "GET"},
	"Get Request Latency 99th Quantile, buckets": {"rest_client_request_duration_seconds_bucket", "le", ".+"},
	"Memory":     {metric: "process_resident_memory_bytes"},
	"CPU usage":  {metric: "process_cpu_seconds_total"},
	"Goroutines": {metric: "go_goroutines"},
}

// TestPanelsOfTheMixinHaveData: each finds at least one series on /metrics of the
// running program.
func TestPanelsOfTheMixinHaveData(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	for panel, want := range mixinPanels {
		series := regexp.MustCompile(fmt.Sprintf(`(?m)^%s(\{.*\})? \S+$`, want.metric))
		if want.label != "" {
			series = regexp.MustCompile(fmt.Sprintf(`(?m)^%s\{(.*,)?%s="%s"(,.*)?\} \S+$`, want.metric, want.label, want.value))
		}
		s.await(panel, func() string { // the first event may take a moment
			if text := s.metrics(); !series.MatchString(text) {
				return fmt.Sprintf("nothing matches %s in\n%s", series, text)
			}
			return ""
		})
	}
}
