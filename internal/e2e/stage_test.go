package e2e

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A stage is the standard network with pods on it, and a namespace and a Node
// in the API server. kube-proxier runs on node1.
//
//	client ── node1 ── caller, local      local, remote: answer at port 8080,
//	            └───── node2 ── remote                  TCP and UDP, both families
type stage struct {
	*testenv.Cluster
	t *testing.T

	namespace    string
	nodeName     string // of node1's object: another one than in other tests
	node1, node2 *testenv.Node
	// caller is a pod that asks, local and remote are pods that answer.
	caller, local, remote *testenv.Host

	forward    *testenv.Forward
	kubeconfig string
	environ    []string // with the variant's iptables in PATH
	restores   *recorder
}

// backendPort is where the pods that answer do so.
const backendPort = 8080

// stages counts, for names and addresses that all tests share.
var stages atomic.Int32

func newStage(t *testing.T, variant testenv.Variant) *stage {
	t.Helper()
	common(t)
	testenv.Need(t, variant.Capability())
	number := stages.Add(1)
	c := testenv.StartCluster(t)
	s := &stage{
		Cluster: c, t: t, namespace: fmt.Sprintf("test-%d", number), nodeName: fmt.Sprintf("node1-of-test-%d", number),
		node1: c.Node("node1"), node2: c.Node("node2"),
	}
	s.caller, s.local, s.remote = s.pod(s.node1, "caller"), s.pod(s.node1, "local"), s.pod(s.node2, "remote")
	s.answer(s.local)
	s.answer(s.remote)
	var err error
	if s.forward, s.kubeconfig, err = shared.kube.ForwardInto(s.node1.Host); err != nil {
		t.Fatal(err)
	}
	dir, err := variant.PathDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.environ = testenv.Environ(dir)
	s.restores = newRecorder(t, dir)
	s.createObjects()
	return s
}

// bothVariants runs a test with each.
func bothVariants(t *testing.T, test func(*testing.T, testenv.Variant)) {
	for _, variant := range testenv.Variants() {
		t.Run(string(variant), func(t *testing.T) { test(t, variant) })
	}
}

// createObjects makes the namespace and the Node, and has everything of this
// test removed at its end: there are no controllers that would do it.
func (s *stage) createObjects() {
	s.t.Helper()
	ctx := s.t.Context()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	if _, err := shared.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.nodeName}}
	for _, addr := range s.node1.Addrs() {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: addr.String()})
	}
	for _, prefix := range s.node1.PodCIDRs {
		node.Spec.PodCIDRs = append(node.Spec.PodCIDRs, prefix.String())
	}
	node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	if _, err := shared.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.deleteObjects)
}

func (s *stage) pod(node *testenv.Node, name string) *testenv.Host {
	s.t.Helper()
	pod, err := node.AddPod(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return pod
}

// answer has a pod answer at backendPort.
func (s *stage) answer(pod *testenv.Host) {
	s.t.Helper()
	for _, addr := range pod.Addrs() {
		for _, proto := range []string{"tcp", "udp"} {
			if _, err := pod.Serve(proto, netip.AddrPortFrom(addr, backendPort)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// claims counts the addresses that tests claim: they are in all tests' rules.
var claims atomic.Int32

// freshVIPs are an IPv4 and an IPv6 address that the client routes to node1, and
// that no other test uses.
func freshVIPs() (v4, v6 netip.Addr) {
	n := claims.Add(1)
	return netip.MustParseAddr(fmt.Sprintf("203.0.113.%d", n)), netip.MustParseAddr(fmt.Sprintf("2001:db8:113::%x", n))
}
