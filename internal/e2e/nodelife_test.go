package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// furtherAddrs are given to node1's device.
func furtherAddrs() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("172.18.0.21"), netip.MustParseAddr("fd00:172:18::21")}
}

func nodePortOf(p corev1.ServicePort) int32 { return p.NodePort }

// The addresses of the Node object decide where "primary" node ports are.
func TestAddressesOfTheNodeObjectChangeLive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	first, second := s.node1.Addrs(), furtherAddrs()
	for _, addr := range second {
		if err := s.node1.AddAddress(addr); err != nil {
			t.Fatal(err)
		}
	}
	s.startSynced("--nodeport-addresses=primary")
	service := s.createService("web", func(service *corev1.Service) { service.Spec.Type = corev1.ServiceTypeNodePort })
	s.setEndpoints("web", s.remote)
	atFirst, atSecond := from(at(first, service, nodePortOf), s.Client()), from(at(second, service, nodePortOf), s.Client())
	s.expect("at the node's address", "remote", atFirst)
	s.expect("at another address of the host", "refused", atSecond)

	s.setNodeAddresses(second)
	s.expect("at the address that is the node's now", "remote", atSecond)
	s.expect("at the address that was the node's", "refused", atFirst)
	s.awaitNoFlagsDiff("--nodeport-addresses=primary")
}

// Which addresses a host has, the rules ask the kernel for each packet: new ones
// serve though nobody is there to write a rule.
func TestNewAddressesOfTheHostServeNodePorts(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		d := s.startSynced()
		service := s.createService("web", func(service *corev1.Service) { service.Spec.Type = corev1.ServiceTypeNodePort })
		s.setEndpoints("web", s.remote)
		s.expect("at the node's address", "remote", from(nodePorts(service, s.node1), s.Client()))
		d.stop()
		for _, addr := range furtherAddrs() {
			if err := s.node1.AddAddress(addr); err != nil {
				t.Fatal(err)
			}
		}
		s.expect("at new addresses", "remote", from(at(furtherAddrs(), service, nodePortOf), s.Client()))
	})
}

// The API server refuses to change spec.podCIDRs once there are any. A node gets
// some some time after it has joined, and others when it is made anew.
func TestPodCIDRsOfTheNodeChangeLive(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	s.remakeNode(nil)
	s.startWith("--kubeconfig="+s.kubeconfig, "--hostname-override="+s.nodeName, "-v=2", "--detect-local-mode=NodeCIDR", "--iptables-min-sync-period=100ms").awaitSync()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.local)
	inside, outside := from(clusterIPs(service), s.caller), from(clusterIPs(service), s.Client())
	s.expectPeers("without ranges: a pod", s.caller, inside)
	s.expectPeers("without ranges: a client outside", s.Client(), outside)

	s.patchNode(fmt.Sprintf(`{"spec":{"podCIDR":%q,"podCIDRs":[%q,%q]}}`, s.node1.PodCIDRs[0], s.node1.PodCIDRs[0], s.node1.PodCIDRs[1]))
	s.expectPeers("with ranges: a client outside", s.node1.Host, outside)
	s.expectPeers("with ranges: a pod", s.caller, inside)

	s.remakeNode([]string{"10.244.77.0/24", "fd00:10:244:77::/64"})
	s.expectPeers("with other ranges: a pod that is not of this node", s.node1.Host, inside)
}

// setNodeAddresses makes these the InternalIPs of node1's object.
func (s *stage) setNodeAddresses(addrs []netip.Addr) {
	s.t.Helper()
	nodes := shared.client.CoreV1().Nodes()
	node, err := nodes.Get(s.t.Context(), s.nodeName, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	node.Status.Addresses = nil
	for _, addr := range addrs {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.String()})
	}
	if _, err := nodes.UpdateStatus(s.t.Context(), node, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// remakeNode deletes node1's object and creates it with these podCIDRs.
func (s *stage) remakeNode(podCIDRs []string) {
	s.t.Helper()
	nodes := shared.client.CoreV1().Nodes()
	node, err := nodes.Get(s.t.Context(), s.nodeName, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := nodes.Delete(s.t.Context(), s.nodeName, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
	again := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.nodeName}, Status: node.Status}
	if again.Spec.PodCIDRs = podCIDRs; len(podCIDRs) > 0 {
		again.Spec.PodCIDR = podCIDRs[0]
	}
	if _, err := nodes.Create(s.t.Context(), again, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// expectPeers waits until the server sees all probes come from that host: from
// the node where their source is rewritten.
func (s *stage) expectPeers(what string, source *testenv.Host, probes []testenv.Probe) {
	s.t.Helper()
	want := source.Addrs()
	for _, probe := range probes {
		s.await(what, func() string {
			reply, err := probe.From.Dial(s.t.Context(), probe.Proto, probe.To, probe.Options)
			if err != nil {
				return err.Error()
			}
			for _, addr := range want {
				if reply.Peer.Addr() == addr {
					return ""
				}
			}
			return fmt.Sprintf("%s to %s is seen as %s, want one of %s's %v", probe.Proto, probe.To, reply.Peer, source.Name, want)
		})
	}
}

// awaitNoFlagsDiff is awaitNoDiff with further flags.
func (s *stage) awaitNoFlagsDiff(flags ...string) {
	s.t.Helper()
	s.await("no difference", func() string {
		out, problems, status := s.command(append(append([]string{"diff"}, s.flags()...), flags...)...)
		if status == 0 {
			return ""
		}
		return fmt.Sprintf("kube-proxier diff: exit status %d: %s%s", status, out, problems)
	})
}
