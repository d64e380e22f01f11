package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// play is the demo from the first to the last line.
func (s *stage) play(ctx context.Context) error {
	s.say(`Two nodes, their pods and a client, each in a network namespace of its own:

  client            node1                    node2
  172.18.0.100      172.18.0.11              172.18.0.12
  198.51.100.7        shopper 10.244.1.10      web-2 10.244.2.12
                      web-1   10.244.1.11      web-3 10.244.2.13
`)
	acts := []func(context.Context) error{s.before, s.inside, s.outside, s.rules, s.move, s.after}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return errors.Join(err, s.logTails())
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	if s.wrong > 0 {
		return errors.Join(fmt.Errorf("%d lines are WRONG", s.wrong), s.logTails())
	}
	s.say("Everything happened as expected.")
	return nil
}

// Addresses of the Services in manifests/services.yaml.
const (
	web4, web6       = "10.96.0.80", "fd00:10:96::80"
	stats4           = "10.96.0.81"
	cart4, cart6     = "10.96.0.82", "fd00:10:96::82"
	closed4, closed6 = "10.96.0.83", "fd00:10:96::83"
	dns4, dns6       = "10.96.0.10", "fd00:10:96::a"
	balancer4        = "203.0.113.80"
	balancer6        = "2001:db8:113::80"
)

// Ports of the Services' nodes.
const (
	webNodePort   = 30080
	statsNodePort = 30081
	dnsNodePort   = 30053
)

// enough connections that, of two servers, both have answered: only one would,
// by chance, in one of 2^29 runs.
const enough = 30

func at(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

func answer(servers ...string) expectation { return expectation{servers: servers} }

func (e expectation) seeing(host string) expectation {
	e.seen = host
	return e
}

func (s *stage) before(ctx context.Context) error {
	s.say("1. Without kube-proxier the address of a Service leads nowhere.\n")
	s.run(ctx, check{what: "web, ClusterIP", from: s.pods["shopper"], proto: "tcp", to: at(web4, 80), want: answer("timed out")})

	s.say("2. kube-proxier starts on both nodes, on a folder of manifests instead of an API server:\n")
	start := time.Now()
	for _, name := range []string{"node1", "node2"} {
		if err := s.start(ctx, s.cluster.Node(name)); err != nil {
			return err
		}
	}
	for _, vip := range []string{web4, web6} {
		for _, from := range []*testenv.Host{s.pods["shopper"], s.pods["web-2"]} {
			if err := s.await(ctx, from, at(vip, 80), func(reply testenv.Reply) bool { return reply.Server != "" }); err != nil {
				return err
			}
		}
	}
	s.say("  node1# kube-proxier --manifests=%s %s %s\n", s.manifests, flags("node1")[0], flags("node1")[1])
	s.say("  Both nodes serve, over IPv4 and IPv6, %d ms after the start.\n", time.Since(start).Milliseconds())
	return s.settle(ctx)
}

func (s *stage) inside(ctx context.Context) error {
	s.say("3. Inside of the cluster: each connection goes to one of the endpoints. Nobody is there at a\n" +
		"   Service without endpoints, and that is said at once. The Service cart has sessionAffinity.\n")
	shopper, web1, node1 := s.pods["shopper"], s.pods["web-1"], s.cluster.Node("node1").Host
	both := answer("web-1", "web-2")
	sticky := expectation{servers: both.servers, sticky: true}
	s.run(ctx,
		check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web4, 80), times: enough, want: both.seeing("shopper")},
		check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web6, 80), times: enough, want: both.seeing("shopper")},
		check{what: "web, from a node", from: node1, proto: "tcp", to: at(web4, 80), times: enough, want: both},
		check{what: "web, from an endpoint", from: web1, proto: "tcp", to: at(web4, 80), times: enough, want: both},
		check{what: "dns, ClusterIP", from: shopper, proto: "udp", to: at(dns4, 53), want: answer("web-2")},
		check{what: "dns, ClusterIP", from: shopper, proto: "udp", to: at(dns6, 53), want: answer("web-2")},
		check{what: "closed, no endpoints", from: shopper, proto: "tcp", to: at(closed4, 80), want: answer("refused")},
		check{what: "closed, no endpoints", from: shopper, proto: "tcp", to: at(closed6, 80), want: answer("refused")},
		check{what: "closed, over UDP", from: shopper, proto: "udp", to: at(closed4, 53), want: answer("refused")},
		check{what: "cart, affinity", from: shopper, proto: "tcp", to: at(cart4, 80), times: enough, want: sticky},
		check{what: "cart, affinity", from: shopper, proto: "tcp", to: at(cart6, 80), times: enough, want: sticky},
	)
	return nil
}

func (s *stage) outside(ctx context.Context) error {
	s.say("4. From outside: web is open at a port of every node, and at a load balancer's address for\n" +
		"   198.51.100.0/24 only. A node that passes a connection on must ask for the answer to come\n" +
		"   back, so the server sees the node. Not so with externalTrafficPolicy Local (stats): local\n" +
		"   endpoints only, and they see the client.\n")
	client, node1, node2 := s.cluster.Client(), s.cluster.Node("node1"), s.cluster.Node("node2")
	far4, far6 := testenv.ClientFar4(), testenv.ClientFar6()
	both := answer("web-1", "web-2")
	s.run(ctx,
		check{what: "web, NodePort", from: client, proto: "tcp", to: netip.AddrPortFrom(node1.Addr4(), webNodePort), times: enough, want: both.seeing("node1")},
		check{what: "web, NodePort", from: client, proto: "tcp", to: netip.AddrPortFrom(node1.Addr6(), webNodePort), times: enough, want: both.seeing("node1")},
		check{what: "dns, NodePort", from: client, proto: "udp", to: netip.AddrPortFrom(node1.Addr4(), dnsNodePort), want: answer("web-2")},
		check{what: "web, load balancer", from: client, source: far4, proto: "tcp", to: at(balancer4, 80), times: enough, want: both},
		check{what: "web, load balancer", from: client, source: far6, proto: "tcp", to: at(balancer6, 80), times: enough, want: both},
		check{what: "web, not in ranges", from: client, source: client.Addr4(), proto: "tcp", to: at(balancer4, 80), want: answer("timed out")},
		check{what: "web, not in ranges", from: client, source: client.Addr6(), proto: "tcp", to: at(balancer6, 80), want: answer("timed out")},
		check{what: "stats, policy Local", from: client, source: far4, proto: "tcp", to: netip.AddrPortFrom(node1.Addr4(), statsNodePort), times: enough, want: answer("web-1").seeing("client")},
		check{what: "stats, policy Local", from: client, source: far6, proto: "tcp", to: netip.AddrPortFrom(node2.Addr6(), statsNodePort), times: enough, want: answer("web-2").seeing("client")},
		check{what: "stats, from a pod", from: s.pods["shopper"], proto: "tcp", to: at(stats4, 80), times: enough, want: both},
	)
	return nil
}

func (s *stage) rules(ctx context.Context) error {
	s.say("5. The rules for web on node1. Anyone can look at them, without root and without a cluster:\n")
	manifests := "--manifests=" + s.manifests
	tree, err := s.command(ctx, s.cluster.Node("node1"),
		append(flags("node1"), "render", manifests, "--service=shop/web", "--family=ipv4", "--output=tree")...)
	if err != nil {
		return err
	}
	s.say("  $ kube-proxier render --manifests=... --service=shop/web --family=ipv4 --output=tree\n%s", indent(tree))
	s.agree(ctx)
	return nil
}

// settle waits until both nodes serve everything.
func (s *stage) settle(ctx context.Context) error {
	for _, name := range []string{"node1", "node2"} {
		err := s.retry(ctx, func(ctx context.Context) error { return s.diff(ctx, name) })
		if err != nil {
			return err
		}
	}
	return nil
}

// diff has kube-proxier compare a node's kernel with the manifests.
func (s *stage) diff(ctx context.Context, node string) error {
	_, err := s.command(ctx, s.cluster.Node(node), append(flags(node), "diff", "--manifests="+s.manifests)...)
	return err
}

// agree shows that each node's kernel has what the manifests ask for.
func (s *stage) agree(ctx context.Context) {
	t := newTable("what", "command", "expected", "got")
	for _, name := range []string{"node1", "node2"} {
		got, err := "no difference", s.diff(ctx, name)
		if err != nil {
			got = err.Error()
		}
		t.add(err == nil, "the kernel has these rules and no more", "kube-proxier diff on "+name, "no difference", got)
	}
	s.print(t)
}

func (s *stage) move(ctx context.Context) error {
	s.say("6. All of web moves to the pod web-3: its EndpointSlices change, and traffic follows.\n")
	shopper := s.pods["shopper"]
	if err := s.writeManifest(endpointsFile, endpoints("web-3")); err != nil {
		return err
	}
	start := time.Now()
	moved := func(reply testenv.Reply) bool { return reply.Server == "web-3" }
	for _, vip := range []string{web4, web6} {
		if err := s.await(ctx, shopper, at(vip, 80), moved); err != nil {
			return err
		}
	}
	s.say("  The first connections to web-3, over IPv4 and IPv6: %d ms after the file was written.\n", time.Since(start).Milliseconds())
	only := answer("web-3")
	s.run(ctx,
		check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web4, 80), times: enough, want: only},
		check{what: "web, ClusterIP", from: shopper, proto: "tcp", to: at(web6, 80), times: enough, want: only},
		check{what: "web, NodePort", from: s.cluster.Client(), proto: "tcp", to: netip.AddrPortFrom(s.cluster.Node("node1").Addr4(), webNodePort), times: enough, want: only},
		check{what: "cart has not moved", from: shopper, proto: "tcp", to: at(cart4, 80), times: enough, want: expectation{servers: []string{"web-1", "web-2"}, sticky: true}},
	)
	return nil
}
