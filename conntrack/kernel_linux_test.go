package conntrack_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A UDP client that keeps its source port follows its Service from a pod that
// is gone to the next, whatever way it comes.
func TestClientFollowsAReplacedPod(t *testing.T) {
	ways := []struct {
		name    string
		service []func(*corev1.Service)
		way     func(s *stage) (from *testenv.Host, to netip.AddrPort)
	}{
		{"pod to cluster IP", nil, func(s *stage) (*testenv.Host, netip.AddrPort) { return s.client, s.vip(53) }},
		{"node to cluster IP", nil, func(s *stage) (*testenv.Host, netip.AddrPort) { return s.node1.Host, s.vip(53) }},
		{"outside to node port", []func(*corev1.Service){exposed}, func(s *stage) (*testenv.Host, netip.AddrPort) {
			return s.Client(), netip.AddrPortFrom(s.addr(s.node1.Host), nodePort)
		}},
		{"node to its node port", []func(*corev1.Service){exposed}, func(s *stage) (*testenv.Host, netip.AddrPort) {
			return s.node1.Host, netip.AddrPortFrom(s.addr(s.node1.Host), nodePort)
		}},
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, s *stage) {
				s.setService(way.service...)
				s.setEndpoints(s.old)
				s.start(false)
				conn := s.open(way.way(s))
				s.answers(conn, "old")
				s.setEndpoints(s.next)
				s.answers(conn, "new")
			})
		})
	}
}

func TestClientFollowsAReplacedPodAtALoadBalancer(t *testing.T) {
	t.Parallel()
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
	s := newStage(t, proxier.IPv4)
	s.setService(exposed)
	s.setEndpoints(s.old)
	s.start(false)
	conn := s.open(s.Client(), netip.MustParseAddrPort(balancer+":53"))
	s.answers(conn, "old")
	s.setEndpoints(s.next)
	s.answers(conn, "new")
}

func TestClientFollowsAReplacedPodOfItsNode(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		near, nearer := s.pod("node1", "near"), s.pod("node1", "nearer")
		s.serve("udp", near, 5353)
		s.serve("udp", nearer, 5353)
		s.setService(internalLocal)
		s.setEndpoints(near, s.old)
		s.start(false)
		conn := s.open(s.client, s.vip(53))
		s.answers(conn, "near")
		s.setEndpoints(nearer, s.old)
		s.answers(conn, "nearer")
	})
}

// What happens otherwise: the client talks to the old pod for ever.
func TestRulesAloneDoNotMoveAFlow(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.setService()
		s.setEndpoints(s.old)
		stop := s.start(true)
		conn := s.open(s.client, s.vip(53))
		s.answers(conn, "old")
		s.setEndpoints(s.next)
		s.eventually("the rules lead to the new pod", func() bool { return s.ask(s.node1.Host, s.vip(53)) == "new" })
		for range 10 {
			if got := testenv.Outcome(conn.Ask()); got != "old" {
				t.Fatalf("the old flow is answered by %q: this test shows nothing here", got)
			}
		}
		stop()
		s.start(false) // also what a restart finds
		s.answers(conn, "new")
	})
}

func TestClientComesBackAfterScalingToZero(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.setService()
		s.setEndpoints(s.old)
		s.start(false)
		conn := s.open(s.client, s.vip(53))
		s.answers(conn, "old")
		s.setEndpoints()
		s.eventually("the flow is gone", func() bool { return len(s.to(s.vip(53))) == 0 })
		s.eventually("the client is refused", func() bool { return testenv.Outcome(conn.Ask()) == "refused" })
		s.setEndpoints(s.next)
		s.answers(conn, "new")
	})
}

func TestClientComesBackAfterTheServiceIsMadeAnew(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.setService()
		s.setEndpoints(s.old)
		s.start(false)
		conn := s.open(s.client, s.vip(53))
		s.answers(conn, "old")
		s.store.DeleteService(dns)
		s.eventually("the flow is gone", func() bool { return len(s.to(s.vip(53))) == 0 })
		if got := testenv.Outcome(conn.Ask()); got == "old" {
			t.Error("a pod answers for a Service that was deleted")
		}
		s.setService()
		s.setEndpoints(s.next)
		s.answers(conn, "new")
	})
}

// A pod of the host network is at an address of the node itself.
func TestClientFollowsAReplacedPodOfTheHostNetwork(t *testing.T) {
	ways := map[string]func(s *stage) (from *testenv.Host, to netip.AddrPort){
		"pod to cluster IP": func(s *stage) (*testenv.Host, netip.AddrPort) { return s.client, s.vip(53) },
		"outside to node port": func(s *stage) (*testenv.Host, netip.AddrPort) {
			return s.Client(), netip.AddrPortFrom(s.addr(s.node1.Host), nodePort)
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			eachFamily(t, func(t *testing.T, s *stage) {
				s.serve("udp", s.node1.Host, 5353)
				s.setService(exposed)
				s.setEndpoints(s.node1.Host)
				s.start(false)
				conn := s.open(way(s))
				s.answers(conn, "node1")
				s.setEndpoints(s.next)
				s.answers(conn, "new")
			})
		})
	}
}

// The client began before there was anything to translate its packets.
func TestClientThatWasThereFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.start(false)
		conn := s.open(s.client, s.vip(53))
		if got := testenv.Outcome(conn.Ask()); got == "new" {
			t.Fatal("answered without a Service")
		}
		if flows := s.to(s.vip(53)); len(flows) != 1 || flows[0].Translated() {
			t.Fatalf("want one flow that is not translated; node1 tracks\n%s", s.tracked())
		}
		s.setService()
		s.setEndpoints(s.next)
		s.answers(conn, "new")
	})
}

func TestHealthyFlowsStay(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.serve("udp", s.client, nodePort)
		s.setService(exposed)
		s.setEndpoints(s.old, s.next)
		stop := s.start(false)
		conn := s.open(s.client, s.vip(53))
		server, err := conn.Ask()
		if err != nil {
			t.Fatal(err)
		}
		// To the number of a node port, but through the node.
		passing := s.open(s.Client(), netip.AddrPortFrom(s.addr(s.client), nodePort))
		s.answers(passing, "client")
		ids := func() [2]conntrack.Flow {
			t.Helper()
			a, b := s.to(s.vip(53)), s.to(netip.AddrPortFrom(s.addr(s.client), nodePort))
			if len(a) != 1 || len(b) != 1 {
				t.Fatalf("want one flow of each kind; node1 tracks\n%s", s.tracked())
			}
			return [2]conntrack.Flow{a[0], b[0]}
		}
		before := ids()

		stop()
		s.start(false)
		if after := ids(); after != before {
			t.Errorf("after a restart the flows are %v, want the same, %v", after, before)
		}
		// The other endpoint goes, and the node port becomes another.
		s.setEndpoints(map[string]*testenv.Host{"old": s.old, "new": s.next}[server.Server])
		s.store.SetService(service(exposed, func(s *corev1.Service) { s.Spec.Ports[0].NodePort = nodePort + 1 }))
		s.eventually("flows are compared with the other node port", func() bool {
			return s.passes.follows(func(state *proxier.State) bool { return state.NodePorts[0].Port == nodePort+1 })
		})
		if got := s.ask(s.Client(), netip.AddrPortFrom(s.addr(s.node1.Host), nodePort+1)); got != server.Server {
			t.Errorf("the other node port is answered by %q, want %q", got, server.Server)
		}
		if after := ids(); after != before {
			t.Errorf("after changes that concern others the flows are %v, want the same, %v", after, before)
		}
	})
}

func TestTCPStays(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.serve("tcp", s.old, 5353)
		s.serve("tcp", s.next, 5353)
		s.setService()
		s.setEndpoints(s.old)
		s.start(false)
		conn, err := s.client.Open(t.Context(), "tcp", s.vip(53), testenv.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		udp := s.open(s.client, s.vip(53))
		s.answers(udp, "old")
		s.setEndpoints(s.next)
		s.answers(udp, "new") // what is done about the change is done
		for range 3 {
			if got := testenv.Outcome(conn.Ask()); got != "old" {
				t.Errorf("the connection is answered by %q, want the pod it began with", got)
			}
		}
	})
}

// Deleting names the very flow; what is not there counts as deleted.
func TestDeleteNamesTheFlow(t *testing.T) {
	eachFamily(t, func(t *testing.T, s *stage) {
		s.start(true)
		conn := s.open(s.client, netip.AddrPortFrom(s.addr(s.next), 5353))
		s.answers(conn, "new")
		to := netip.AddrPortFrom(s.addr(s.next), 5353)
		f := s.to(to)[0]
		k := table{s.node1.Host}
		another := f
		another.ID++
		if err := k.Delete(t.Context(), s.family, []conntrack.Stale{{Flow: another}}); err != nil {
			t.Error(err)
		}
		if got := s.to(to); len(got) != 1 || got[0] != f {
			t.Errorf("after another was deleted: %v, want %v", got, f)
		}
		for range 2 {
			if err := k.Delete(t.Context(), s.family, []conntrack.Stale{{Flow: f}}); err != nil {
				t.Error(err)
			}
			if got := s.to(to); len(got) != 0 {
				t.Errorf("left: %v", got)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.Flows(ctx, s.family, func(*conntrack.Flow) bool { return true }); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, want that the context ended", err)
		}
	})
}
