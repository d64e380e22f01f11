package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestServiceOfAnotherProxyIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	probes := from(clusterIPs(service), s.everybody()...)
	s.expect("without the label", "remote", probes)

	label := func(value any) {
		s.patchService("web", object{"metadata": object{"labels": object{"service.kubernetes.io/service-proxy-name": value}}})
	}
	label("another")
	s.expect("with the label", "timed out", probes)
	if rules := s.rules(); strings.Contains(rules, s.namespace+"/web") {
		t.Errorf("there are rules left:\n%s", rules)
	}
	label(nil)
	s.expect("without the label again", "remote", probes)
}

func TestHeadlessAndExternalNameServicesHaveNoRules(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	s.createService("headless", func(service *corev1.Service) { service.Spec.ClusterIP = corev1.ClusterIPNone })
	s.setEndpoints("headless", s.remote)
	s.createService("external-name", func(service *corev1.Service) {
		service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example"}
	})
	s.setEndpoints("external-name", s.remote)
	// What is created last is served last.
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	s.expect("an ordinary Service", "remote", from(clusterIPs(service), s.caller))
	rules := s.rules()
	for _, name := range []string{"headless", "external-name"} {
		if strings.Contains(rules, s.namespace+"/"+name) {
			t.Errorf("there are rules of the Service %s:\n%s", name, rules)
		}
	}
	if !strings.Contains(rules, s.namespace+"/web") {
		t.Errorf("the rules do not name the Service web, so this test would not see those of others:\n%s", rules)
	}
}

func TestZoneOfTheNodeChangesLive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	service := s.createService("web", nil)
	s.setBackends("web", backend{pod: s.local, zone: "a"}, backend{pod: s.remote, zone: "b"})
	probes := from(clusterIPs(service), s.caller)
	expect := func(what string, servers ...*testenv.Host) {
		for _, probe := range probes {
			s.expectServers(what, probe, servers...)
		}
	}
	expect("node without a zone", s.local, s.remote)
	s.patchNodeLabels(object{corev1.LabelTopologyZone: "a"})
	expect("node in zone a", s.local)
	s.patchNodeLabels(object{corev1.LabelTopologyZone: "b"})
	expect("node in zone b", s.remote)
	s.patchNodeLabels(object{corev1.LabelTopologyZone: "c"})
	expect("node in a zone that nobody is hinted for", s.local, s.remote)
	s.setBackends("web", backend{pod: s.local, zone: "c"}, backend{pod: s.remote, zone: "b"})
	expect("hints that change", s.local)
	s.patchNodeLabels(object{corev1.LabelTopologyZone: nil})
	expect("node without a zone again", s.local, s.remote)
}

func TestOlderServiceKeepsAnExternalIP(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	d := s.startSynced()
	v4, v6 := freshVIPs()
	claim := func(service *corev1.Service) { service.Spec.ExternalIPs = []string{v4.String(), v6.String()} }
	// By name the younger one would come first.
	older := s.createService("older", claim)
	s.setEndpoints("older", s.local)
	probes := from(externalIPs(older), s.caller, s.Client())
	s.expect("one Service", "local", probes)

	s.createYounger("beside", older, claim)
	s.setEndpoints("beside", s.remote)
	d.awaitLog(`problem="Service ` + s.namespace + `/beside`)
	s.awaitNoDiff()
	s.expect("two Services", "local", probes)

	s.deleteService("older")
	s.expect("the older one deleted", "remote", probes)
}

// createYounger is createService, again until it is younger than another one:
// ages are in seconds.
func (s *stage) createYounger(name string, than *corev1.Service, change func(*corev1.Service)) {
	s.t.Helper()
	s.await("a younger Service", func() string {
		service := s.createService(name, change)
		if service.CreationTimestamp.After(than.CreationTimestamp.Time) {
			return ""
		}
		s.deleteService(name)
		return "the same age"
	})
}
