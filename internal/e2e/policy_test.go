package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestPoliciesChangeLive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	service := s.createBalanced("web")
	s.setEndpoints("web", s.remote)
	internal := clusterIPs(service)
	external := slices.Concat(nodePorts(service, s.node1), balancerIPs(service))
	s.expect("policy Cluster", "remote", from(external, s.everybody()...))

	s.patchSpec("web", object{"externalTrafficPolicy": "Local"})
	s.expect("external policy Local without a local endpoint, from outside", "timed out", from(external, s.Client()))
	s.expect("external policy Local without a local endpoint, from inside", "remote", from(external, s.caller, s.node1.Host))
	s.expect("external policy Local, at the cluster IPs", "remote", from(internal, s.everybody()...))

	s.setEndpoints("web", s.remote, s.local)
	s.expect("external policy Local with a local endpoint", "local", from(external, s.Client()))
	s.expectPeer("external policy Local", from(external, s.Client()), s.Client().Addrs())

	s.patchSpec("web", object{"externalTrafficPolicy": "Cluster"})
	for _, probe := range from(external, s.Client()) {
		s.expectServers("external policy Cluster again", probe, s.remote, s.local)
	}
	s.expectPeer("external policy Cluster", from(external, s.Client()), s.node1.Addrs())

	s.patchSpec("web", object{"internalTrafficPolicy": "Local"})
	s.expect("internal policy Local with a local endpoint", "local", from(internal, s.caller, s.node1.Host))
	s.setEndpoints("web", s.remote)
	s.expect("internal policy Local without a local endpoint", "timed out", from(internal, s.caller, s.node1.Host))
	s.expect("internal policy Local, at external addresses", "remote", from(external, s.Client()))
	s.patchSpec("web", object{"internalTrafficPolicy": "Cluster"})
	s.expect("internal policy Cluster again", "remote", from(internal, s.caller, s.node1.Host))
}

func TestTypeChangesLive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.startSynced()
	service := s.createBalanced("web")
	s.setEndpoints("web", s.remote)
	balancer, ports, internal := balancerIPs(service), nodePorts(service, s.node1), clusterIPs(service)
	s.expect("type LoadBalancer", "remote", from(slices.Concat(balancer, ports, internal), s.Client()))

	// Whoever gave the addresses takes them back.
	s.patchService("web", object{"status": object{"loadBalancer": nil}}, "status")
	s.patchSpec("web", object{"type": "NodePort"})
	s.expect("addresses of a type NodePort", "timed out", from(balancer, s.Client()))
	s.expect("type NodePort", "remote", from(slices.Concat(ports, internal), s.Client()))

	s.patchSpec("web", object{"type": "ClusterIP"})
	s.expect("node ports of a type ClusterIP", "refused", from(ports, s.Client()))
	s.expect("type ClusterIP", "remote", from(internal, s.Client()))

	again := s.patchSpec("web", object{"type": "NodePort"})
	s.expect("type NodePort again", "remote", from(slices.Concat(nodePorts(again, s.node1), internal), s.Client()))

	s.patchSpec("web", object{
		"type": "ExternalName", "externalName": "web.example", "clusterIP": nil, "clusterIPs": nil,
		"ipFamilyPolicy": nil, "ipFamilies": nil, "internalTrafficPolicy": nil, "externalTrafficPolicy": nil,
	})
	s.expect("cluster IPs of a type ExternalName", "timed out", from(internal, s.everybody()...))
	s.expect("node ports of a type ExternalName", "refused", from(nodePorts(again, s.node1), s.Client()))
}

func TestSourceRangesChangeLive(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		s.startSynced()
		service := s.createBalanced("web")
		s.setEndpoints("web", s.remote)
		near := from(balancerIPs(service), s.Client())
		far := from(balancerIPs(service), s.Client())
		for i := range far {
			source := testenv.ClientFar4()
			if far[i].To.Addr().Is6() {
				source = testenv.ClientFar6()
			}
			far[i].Options.Source = netip.AddrPortFrom(source, 0)
		}
		s.expect("without source ranges", "remote", slices.Concat(near, far))

		s.patchSpec("web", object{"loadBalancerSourceRanges": []string{"172.18.0.0/16", "fd00:172:18::/64"}})
		s.expect("sources outside of the ranges", "timed out", far)
		s.expect("sources in the ranges", "remote", near)
		s.expect("node ports, which have no ranges", "remote", from(nodePorts(service, s.node1), s.Client()))

		s.patchSpec("web", object{"loadBalancerSourceRanges": []string{"198.51.100.0/24", "2001:db8:51::/64"}})
		s.expect("sources outside of other ranges", "timed out", near)
		s.expect("sources in other ranges", "remote", far)

		s.patchSpec("web", object{"loadBalancerSourceRanges": nil})
		s.expect("without source ranges again", "remote", slices.Concat(near, far))
	})
}

func TestSessionAffinityChangesLive(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		s.startSynced()
		service := s.createService("web", nil)
		s.setEndpoints("web", s.remote, s.local)
		probe := from(clusterIPs(service), s.caller)[0]
		s.expectServers("without affinity", probe, s.remote, s.local)

		s.patchSpec("web", object{"sessionAffinity": corev1.ServiceAffinityClientIP})
		server := s.expectOneServer("with affinity", probe)
		// Affinity chooses among the endpoints there are.
		other := s.remote
		if server == s.remote.Name {
			other = s.local
		}
		s.setEndpoints("web", other)
		s.expectServers("the server that was chosen is gone", probe, other)
		s.setEndpoints("web", s.remote, s.local)
		s.awaitNoDiff()
		s.expectServers("it is back, and the client stays where it went", probe, other)

		s.patchSpec("web", object{"sessionAffinity": corev1.ServiceAffinityNone, "sessionAffinityConfig": nil})
		s.expectServers("without affinity again", probe, s.remote, s.local)
	})
}

// expectPeer has all probes answered by somebody who saw one of the addresses.
func (s *stage) expectPeer(what string, probes []testenv.Probe, addrs []netip.Addr) {
	s.t.Helper()
	for i, result := range testenv.DialAll(s.t.Context(), probes) {
		if result.Err != nil || !slices.Contains(addrs, result.Peer.Addr()) {
			s.t.Errorf("%s: %s to %s %s: the source was %v (%v), want one of %v",
				what, probes[i].From.Name, probes[i].Proto, probes[i].To, result.Peer, result.Err, addrs)
		}
	}
}

// expectOneServer waits until connections go to one server only, and names it.
func (s *stage) expectOneServer(what string, probe testenv.Probe) (server string) {
	s.t.Helper()
	s.await(what, func() string {
		have := s.outcomes(probe)
		if len(have) == 1 {
			server = have[0]
			return ""
		}
		return fmt.Sprintf("connections go to %v", have)
	})
	return server
}
