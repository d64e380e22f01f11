package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// countedTraffic is our document with the traffic of Services counted.
const countedTraffic = `
---
apiVersion: kube-proxier.io/v1alpha1
kind: KubeProxierConfiguration
metrics: {serviceTraffic: true, trafficPeriod: 1s}`

// linesWith are the lines that begin so.
func linesWith(text, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestTrafficOfServices: it is counted from when the configuration asks for it until
// it does not any more: each dial once, while endpoints come and go; and that of a
// Service is forgotten with it. The Service has several endpoints, and so a chain
// that nobody else's changes write anew: other tests have Services, too.
func TestTrafficOfServices(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		const base = "clusterCIDR: " + clusterCIDR + "\niptables: {minSyncPeriod: 100ms}"
		c := s.newConfigMap(base)
		d := s.startWith("--config="+c.path(), "--hostname-override="+s.nodeName)
		web := s.createService("web", func(service *corev1.Service) { service.Spec.Ports = service.Spec.Ports[:1] })
		third := s.pod(s.node1, "third")
		s.answer(third)
		s.setEndpoints("web", s.local, s.remote)
		s.awaitNoConfigDiff(c.path())
		vip := netip.AddrPortFrom(netip.MustParseAddr(web.Spec.ClusterIPs[0]), uint16(web.Spec.Ports[0].Port))
		dial := func(times int) {
			t.Helper()
			for range times {
				if _, err := s.caller.Dial(t.Context(), "tcp", vip, testenv.DialOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		dial(5)
		const name = "kubeproxier_service_connections_total"
		if strings.Contains(s.metrics(), name) {
			t.Error("traffic is counted, though nobody asked for it")
		}

		before := d.log.text()
		c.publish(base + countedTraffic)
		d.awaitReload(before)
		port := web.Spec.Ports[0]
		sample := fmt.Sprintf(`%s{ip_family="IPv4",namespace=%q,port=%q,protocol="TCP",service="web"} `, name, s.namespace, port.Name)
		expect := func(what string, n int) {
			t.Helper()
			s.await(what, func() string {
				text := s.metrics()
				if strings.Contains(text, fmt.Sprintf("\n%s%d\n", sample, n)) {
					return ""
				}
				return fmt.Sprintf("no %s%d in\n%s", sample, n, linesWith(text, "kubeproxier_service_"))
			})
		}
		expect("what was before does not count", 0)
		dial(7)
		expect("at first", 7)
		s.setEndpoints("web", s.local, s.remote, third)
		s.awaitNoConfigDiff(c.path())
		dial(9)
		expect("with one endpoint more", 16)
		s.setEndpoints("web", s.local, third)
		s.awaitNoConfigDiff(c.path())
		dial(2)
		expect("with one less", 18)

		s.deleteService("web")
		s.await("the Service is forgotten", func() string {
			if text := s.metrics(); strings.Contains(text, sample) {
				return "there still is " + sample
			}
			return ""
		})
		before = d.log.text()
		c.publish(base)
		d.awaitReload(before)
		if strings.Contains(s.metrics(), name) {
			t.Error("traffic is still counted")
		}
	})
}
