package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A controller says when the change happened because of which it writes a slice.
func TestMetricsOfAChangeInTheCluster(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	s.createService("web", nil)
	slice := s.slice("web", "first", discoveryv1.AddressTypeIPv4, backends([]*testenv.Host{s.local}))
	slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Format(time.RFC3339Nano)}
	if _, err := shared.client.DiscoveryV1().EndpointSlices(s.namespace).Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for what, sample := range map[string]string{
		"how long it took":       `kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1`,
		"nothing is pending":     `kubeproxy_sync_proxy_rules_endpoint_changes_pending 0`,
		"it went well":           `kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 0`,
		"requests to the server": `rest_client_requests_total{code="200",host="`,
	} {
		line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample))
		s.await(what, func() string {
			text := s.metrics()
			if line.MatchString(text) {
				return ""
			}
			return "no " + sample + " in\n" + text
		})
	}
}

// metrics is /metrics as node1 itself sees it; the error where nobody answers.
func (s *stage) metrics() string {
	s.t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			failed := s.node1.Do(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, failed
		},
	}}
	response, err := client.Get("http://127.0.0.1:10249/metrics")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
