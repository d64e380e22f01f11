package ipvstests

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A stage is the test network with node1 in IPVS mode and some pods that answer.
type stage struct {
	*testenv.Cluster
	node    *testenv.Node
	hosts   map[string]*testenv.Host
	store   *proxier.Store
	served  []service
	proxies map[proxier.Family]*proxy
}

// slow is the timeout of dials that have to get through.
const slow = 20 * time.Second

// newStage has the pods here, on node1, and there, on node2. Each answers on
// port 8080 over TCP and UDP.
func newStage(t *testing.T, here, there []string, s settings) *stage {
	t.Helper()
	vm.Need(t)
	c := testenv.StartCluster(t)
	st := &stage{Cluster: c, node: c.Node("node1"), store: proxier.NewStore(), proxies: map[proxier.Family]*proxy{}}
	st.hosts = map[string]*testenv.Host{"client": c.Client(), "node": st.node.Host, "node2": c.Node("node2").Host}
	for node, pods := range map[*testenv.Node][]string{st.node: here, c.Node("node2"): there} {
		for _, name := range pods {
			pod, err := node.AddPod(name)
			if err != nil {
				t.Fatal(err)
			}
			st.hosts[name] = pod
			for _, addr := range pod.Addrs() {
				for _, protocol := range []string{"tcp", "udp"} {
					if _, err := pod.Serve(protocol, netip.AddrPortFrom(addr, 8080)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	if err := c.RouteVIPs(st.node); err != nil {
		t.Fatal(err)
	}
	if s.drainTimeout == 0 {
		s.drainTimeout = ipvs.DefaultDrainTimeout
	}
	for _, family := range proxier.Families {
		st.proxies[family] = newProxy(t, st.node, st.store, family, s)
	}
	return st
}

// on are the endpoints of pods.
func (s *stage) on(pods ...string) []endpoint {
	var list []endpoint
	for _, pod := range pods {
		for _, addr := range s.hosts[pod].Addrs() {
			node := "node2"
			if slices.ContainsFunc(s.node.PodCIDRs, func(p netip.Prefix) bool { return p.Contains(addr) }) {
				node = "node1"
			}
			list = append(list, endpoint{addr, node})
		}
	}
	return list
}

// serve brings the Services into force.
func (s *stage) serve(t *testing.T, services ...service) {
	t.Helper()
	fill(t, s.store, s.served, services)
	s.served = services
	s.sync(t)
}

func (s *stage) sync(t *testing.T) {
	t.Helper()
	for _, family := range proxier.Families {
		s.proxies[family].sync(t)
	}
}

// settled fails where a pass would still do something, also one that looks at
// the kernel.
func (s *stage) settled(t *testing.T) {
	t.Helper()
	for _, family := range proxier.Families {
		s.proxies[family].sync(t).mustBeEmpty(t)
		for _, d := range s.proxies[family].reconciler.Dataplanes {
			d.Forget()
		}
		s.proxies[family].sync(t).mustBeEmpty(t)
	}
}

// addressOf is where a Service is, by the kind of its address.
func (s *stage) addressOf(family proxier.Family, kind string, number int) netip.AddrPort {
	var text string
	v6 := family == proxier.IPv6
	switch kind {
	case "cluster":
		text = map[bool]string{false: "10.96.0.%d", true: "fd00:10:96::%d"}[v6]
	case "lb":
		text = map[bool]string{false: "203.0.113.%d", true: "2001:db8:113::%d"}[v6]
	case "external":
		text = map[bool]string{false: "203.0.113.1%02d", true: "2001:db8:113::1%02d"}[v6]
	case "nodeport":
		return netip.AddrPortFrom(own(s.node.Host, family), uint16(30000+number))
	}
	return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf(text, number)), 80)
}

// own is the host's first address of a family.
func own(h *testenv.Host, family proxier.Family) netip.Addr {
	if family == proxier.IPv6 {
		return h.Addr6()
	}
	return h.Addr4()
}

// A packetCase is a line of a packet table: who sends where, and which servers answer
// (all of them must, in as many attempts as it takes), or what happens else.
//
//	client lb 10: pod-a pod-b masq
type packetCase struct {
	line       string
	family     proxier.Family
	protocol   string
	from       string
	to         netip.AddrPort
	want       []string
	masquerade bool
}

// String says who sends what where.
func (c packetCase) String() string {
	return fmt.Sprintf("%q over %s to %s", c.line, c.protocol, c.to)
}

func (s *stage) parse(t *testing.T, table string) []packetCase {
	t.Helper()
	var cases []packetCase
	for line := range strings.Lines(table) {
		line, _, _ = strings.Cut(line, "#")
		head, tail, _ := strings.Cut(line, ":")
		words := strings.Fields(head)
		if len(words) == 0 {
			continue
		}
		var number int
		if _, err := fmt.Sscan(words[2], &number); err != nil || s.hosts[words[0]] == nil {
			t.Fatalf("packet table: %q", line)
		}
		for _, family := range proxier.Families {
			for _, protocol := range []string{"tcp", "udp"} {
				c := packetCase{line: strings.TrimSpace(line), family: family, protocol: protocol, from: words[0], to: s.addressOf(family, words[1], number)}
				c.want = strings.Fields(tail)
				if c.masquerade = slices.Contains(c.want, "masq"); c.masquerade {
					c.want = slices.DeleteFunc(c.want, func(w string) bool { return w == "masq" })
				}
				if c.want[0] == "dropped" {
					c.want = []string{testenv.ErrTimedOut.Error()}
				}
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// check sends the packets of a table: those of one family and protocol one after
// the other, so that nobody else takes turns at a virtual server.
func (s *stage) check(t *testing.T, table string) {
	t.Helper()
	groups := map[string][]packetCase{}
	for _, c := range s.parse(t, table) {
		key := string(c.family) + c.protocol
		groups[key] = append(groups[key], c)
	}
	var all sync.WaitGroup
	for _, cases := range groups {
		all.Go(func() {
			for _, c := range cases {
				s.checkCase(t, c)
			}
		})
	}
	all.Wait()
}

func (s *stage) checkCase(t *testing.T, c packetCase) {
	t.Helper()
	missing := slices.Clone(c.want)
	for range 30 * len(c.want) { // the short circuit chooses at random
		options := testenv.DialOptions{Timeout: slow}
		if c.want[0] == testenv.ErrTimedOut.Error() {
			options.Timeout = 2 * testenv.DefaultTimeout
		}
		reply, err := s.hosts[c.from].Dial(t.Context(), c.protocol, c.to, options)
		outcome := testenv.Outcome(reply, err)
		missing = slices.DeleteFunc(missing, func(w string) bool { return w == outcome })
		if !slices.Contains(c.want, outcome) {
			t.Errorf("%s: have %s (%v)", c, outcome, err)
			return
		}
		if err == nil {
			s.checkSource(t, c, reply)
		}
		if len(missing) == 0 {
			return
		}
	}
	t.Errorf("%s: nothing of %v", c, missing)
}

// checkSource compares whom the server saw with whom it should have seen. What
// the node sends comes from its own address in either case.
func (s *stage) checkSource(t *testing.T, c packetCase, reply testenv.Reply) {
	t.Helper()
	want := s.hosts[c.from]
	if c.masquerade {
		want = s.node.Host
	}
	if peer := reply.Peer.Addr(); !slices.Contains(want.Addrs(), peer) {
		t.Errorf("%s: %s saw the client as %s, want one of %s", c, reply.Server, peer, want.Addrs())
	}
}

// outcome is what becomes of one dial, in a word.
func (s *stage) outcome(t *testing.T, from, protocol string, to netip.AddrPort) string {
	t.Helper()
	reply, err := s.hosts[from].Dial(t.Context(), protocol, to, testenv.DialOptions{Timeout: slow})
	return testenv.Outcome(reply, err)
}

// ask dials a Service that must answer, and returns who did.
func (s *stage) ask(t *testing.T, from string, to netip.AddrPort, source netip.AddrPort) string {
	t.Helper()
	reply, err := s.hosts[from].Dial(t.Context(), "tcp", to, testenv.DialOptions{Source: source, Timeout: slow})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Server
}

// open starts a connection to a Service, which must answer.
func (s *stage) open(t *testing.T, from, protocol string, to netip.AddrPort) (*testenv.Conn, string) {
	t.Helper()
	conn, err := s.hosts[from].Open(t.Context(), protocol, to, testenv.DialOptions{Timeout: slow})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, goesOn(t, conn)
}

// goesOn asks over a connection, which must answer, and returns who did.
func goesOn(t *testing.T, conn *testenv.Conn) string {
	t.Helper()
	reply, err := conn.Ask()
	if err != nil {
		t.Fatal(err)
	}
	return reply.Server
}
