package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// The port of /healthz, /livez and /status.
const healthPort = 10256

func TestLoadBalancersLearnWhichNodeHasEndpoints(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	s.createBalanced("web")
	service := s.patchSpec("web", object{"externalTrafficPolicy": "Local"})
	port := uint16(service.Spec.HealthCheckNodePort)
	s.expectCode("no endpoints at all", http.StatusServiceUnavailable, port, "/")
	s.setEndpoints("web", s.remote)
	s.expectCode("endpoints of another node", http.StatusServiceUnavailable, port, "/")
	s.setEndpoints("web", s.local, s.remote)
	s.expectCode("an endpoint of this node", http.StatusOK, port, "/")
	s.patchSpec("web", object{"externalTrafficPolicy": "Cluster"})
	s.expectCode("another policy", 0, port, "/")
}

func TestATakenHealthCheckNodePortIsAnEventOnTheService(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	port := uint16(freshPort())
	s.expectCode("nobody", 0, port, "/")
	var listener net.Listener
	if err := s.node1.Do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s.createService("late", func(service *corev1.Service) {
		service.Spec.Type = corev1.ServiceTypeLoadBalancer
		service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		service.Spec.HealthCheckNodePort = int32(port)
	})
	s.awaitEvent("late", "FailedToStartServiceHealthcheck", s.nodeName)
	listener.Close()
	s.setEndpoints("late", s.local)
	s.expectCode("a port that is free again", http.StatusOK, port, "/")
}

func TestHealthTellsOfPassesThatFailAndOfTheNodesEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced("--iptables-sync-period=1s")
	both := func(what string, healthz, livez int) {
		t.Helper()
		s.expectCode(what, healthz, healthPort, "/healthz")
		s.expectCode(what, livez, healthPort, "/livez")
	}
	both("all is well", http.StatusOK, http.StatusOK)
	s.patchNode(`{"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler","value":"1","effect":"NoSchedule"}]}}`)
	both("a tainted node", http.StatusServiceUnavailable, http.StatusOK)
	s.patchNode(`{"spec":{"taints":null}}`)
	both("a node that stays", http.StatusOK, http.StatusOK)

	// Rules that no Service is to blame for.
	s.restores.refuse("COMMIT")
	s.iptables("iptables", "-t", "nat", "-F", "KUBE-POSTROUTING")
	both("writes that fail", http.StatusServiceUnavailable, http.StatusServiceUnavailable)
	if text := s.metrics(); !regexp.MustCompile(`(?m)^kubeproxy_proxy_healthz_total\{code="503"\} [1-9]`).MatchString(text) {
		t.Errorf("answers with code 503 are not counted in\n%s", text)
	}
	s.expectStatus("an error of the iptables dataplane", func(page statusPage) bool {
		return !page.Healthy && page.Families["IPv4"].Dataplanes[0].LastError.Message != ""
	})
	s.restores.refuse("")
	both("writes that succeed again", http.StatusOK, http.StatusOK)
	if code, body := s.get(s.Client(), s.node1.Addr4(), healthPort, "/status"); code != http.StatusForbidden || strings.Contains(body, s.namespace) {
		t.Errorf("another host asks for the status: %d %s", code, body)
	}
}

// statusPage is the part of /status that tests look at.
type statusPage struct {
	Healthy             bool
	APIServerUnanswered struct{ Reason string }
	Config              configStatus
	Families            map[string]struct {
		Dataplanes []struct {
			LastError struct{ Message string }
		}
	}
}

func (s *stage) expectStatus(what string, ok func(statusPage) bool) {
	s.t.Helper()
	s.await(what, func() string {
		_, body := s.get(s.node1.Host, netip.MustParseAddr("127.0.0.1"), healthPort, "/status")
		var page statusPage
		if err := json.Unmarshal([]byte(body), &page); err != nil || !ok(page) {
			return fmt.Sprint(err, " ", body)
		}
		return ""
	})
}

// expectCode waits until the client gets that code from both addresses of
// node1; 0 for a refused connection.
func (s *stage) expectCode(what string, want int, port uint16, path string) {
	s.t.Helper()
	for _, addr := range s.node1.Addrs() {
		s.await(what, func() string {
			if code, body := s.get(s.Client(), addr, port, path); code != want {
				return fmt.Sprintf("http://%s%s answers %d, want %d: %s", netip.AddrPortFrom(addr, port), path, code, want, body)
			}
			return ""
		})
	}
}

// get asks from a host; the code is 0 and the body the error where nobody
// answers.
func (s *stage) get(from *testenv.Host, addr netip.Addr, port uint16, path string) (code int, body string) {
	s.t.Helper()
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			doErr := from.Do(func() error {
				conn, err = new(net.Dialer).DialContext(ctx, network, address)
				return nil
			})
			if doErr != nil {
				err = doErr
			}
			return conn, err
		},
	}}
	response, err := client.Get("http://" + netip.AddrPortFrom(addr, port).String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// patchNode merges a JSON patch into node1's object.
func (s *stage) patchNode(patch string) {
	s.t.Helper()
	if _, err := shared.client.CoreV1().Nodes().Patch(s.t.Context(), s.nodeName, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
}
