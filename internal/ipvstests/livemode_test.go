package ipvstests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// The real program changes from iptables mode to IPVS mode and back because its
// file changes, while new connections are made all the time: none fails, and
// nothing of the mode before is left.
func TestModeChangesLive(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	configure := func(mode string) { writeFile(t, dir, "config.conf", fmt.Sprintf(liveConfiguration, mode)) }
	configure("iptables")
	p.start(t, "--config="+filepath.Join(dir, "config.conf"), "--manifests="+filepath.Join(dir, "web.yaml"), "--hostname-override=node1")
	p.awaitInForce(t)
	for i := range 2 * *rounds {
		stop := s.stream(t, s.webDials())
		configure([]string{"ipvs", "iptables"}[i%2])
		p.await(t, func() string {
			if strings.Count(p.log.String(), `"The configuration has changed"`) == i+1 {
				return ""
			}
			return "the change is not in force"
		})
		p.awaitInForce(t)
		t.Logf("change %d: %d new connections", i+1, stop())
	}
	p.awaitNothingLeft(t)
	p.end(t)
}

// liveConfiguration has a timeout that is longer than a dial of the stream, and
// shorter than the kernel remembers ended connections.
const liveConfiguration = testenv.Configuration + `mode: %s
---
apiVersion: kube-proxier.io/v1alpha1
kind: KubeProxierConfiguration
ipvs: {drainTimeout: 20s}
`

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// webDials are those to all kinds of addresses of webManifest's Service.
func (s *stage) webDials() (dials []dial) {
	for _, family := range proxier.Families {
		for _, protocol := range []string{"tcp", "udp"} {
			dials = append(dials,
				dial{from: "asker", protocol: protocol, to: s.addressOf(family, "cluster", 10)},
				dial{from: "client", protocol: protocol, to: s.addressOf(family, "lb", 10)},
				dial{from: "client", protocol: protocol, to: s.addressOf(family, "nodeport", 10)})
		}
	}
	return dials
}

// webManifest is one Service at the addresses of number 10, with both pods.
func (s *stage) webManifest() string { return s.webManifestOf("here", "there") }

func (s *stage) webManifestOf(pods ...string) string {
	text := fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec:
  type: LoadBalancer
  clusterIP: %[1]s
  clusterIPs: [%[1]s, "%[2]s"]
  ipFamilies: [IPv4, IPv6]
  ports:
  - {name: tcp, protocol: TCP, port: 80, targetPort: 8080, nodePort: 30010}
  - {name: udp, protocol: UDP, port: 80, targetPort: 8080, nodePort: 30010}
status: {loadBalancer: {ingress: [{ip: %[3]s}, {ip: "%[4]s"}]}}
`, s.addressOf(proxier.IPv4, "cluster", 10).Addr(), s.addressOf(proxier.IPv6, "cluster", 10).Addr(),
		s.addressOf(proxier.IPv4, "lb", 10).Addr(), s.addressOf(proxier.IPv6, "lb", 10).Addr())
	for _, family := range proxier.Families {
		text += fmt.Sprintf(`---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: web-%s, labels: {kubernetes.io/service-name: web}}
addressType: %s
ports: [{name: tcp, protocol: TCP, port: 8080}, {name: udp, protocol: UDP, port: 8080}]
endpoints:
`, strings.ToLower(string(family)), family)
		for _, pod := range pods {
			text += fmt.Sprintf("- {addresses: [\"%s\"], conditions: {ready: true, serving: true}}\n", own(s.hosts[pod], family))
		}
	}
	return text
}
