package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestServiceWhoseRulesAreRefusedIsNamedAndTheOthersAreServed(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		d := s.startSynced()
		s.restores.refuse(s.namespace + "/bad:tcp")
		bad, good := s.createService("bad", balancedLocally), s.createService("good", nil)
		s.setEndpoints("bad", s.local)
		s.setEndpoints("good", s.remote)
		s.expect("a Service beside a refused one", "remote", from(clusterIPs(good), s.everybody()...))
		for _, f := range clusterIPs(bad) {
			outcome := "local"
			if f.proto == "tcp" {
				outcome = "timed out"
			}
			s.expect("a Service with a refused TCP port, by "+f.proto, outcome, from([]frontend{f}, s.caller))
		}
		d.awaitLog(`servicePort="` + s.namespace + `/bad:tcp`)
		for _, family := range []string{"IPv4", "IPv6"} {
			s.awaitEvent("bad", "RulesRefused", "over "+family+" by node "+s.nodeName)
		}
		s.expectCode("a Service with a refused port", http.StatusServiceUnavailable, uint16(bad.Spec.HealthCheckNodePort), "/")

		s.restores.refuse("")
		s.patchSpec("bad", object{"sessionAffinity": "ClientIP"})
		s.expect("a Service that changed", "local", from(clusterIPs(bad), s.everybody()...))
		s.expectCode("a Service that changed", http.StatusOK, uint16(bad.Spec.HealthCheckNodePort), "/")
	})
}

// balancedLocally makes a Service one for a load balancer that asks each node whether
// it has endpoints.
func balancedLocally(service *corev1.Service) {
	service.Spec.Type = corev1.ServiceTypeLoadBalancer
	service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

// awaitEvent waits for an event on a Service with a reason and a part of its
// note.
func (s *stage) awaitEvent(service, reason, note string) {
	s.t.Helper()
	s.await("event "+reason, func() string {
		events, err := shared.client.EventsV1().Events(s.namespace).List(s.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for i := range events.Items {
			e := &events.Items[i]
			if e.Regarding.Kind == "Service" && e.Regarding.Name == service && e.Reason == reason && strings.Contains(e.Note, note) {
				return ""
			}
		}
		return fmt.Sprintf("none that says %q; have %s", note, describe(events.Items))
	})
}

func describe(events []eventsv1.Event) string {
	var all []string
	for i := range events {
		e := &events[i]
		all = append(all, fmt.Sprintf("%s %s %s: %s", e.Regarding.Kind, e.Regarding.Name, e.Reason, e.Note))
	}
	return strings.Join(all, "; ")
}
