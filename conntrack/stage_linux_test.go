package conntrack_test

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A stage is the standard network with kube-proxier's dataplanes of one family
// at work on node1, as the daemon wires them.
type stage struct {
	*testenv.Cluster
	t      *testing.T
	family proxier.Family
	store  *proxier.Store
	node1  *testenv.Node
	client *testenv.Host // a pod on node1
	old    *testenv.Host
	next   *testenv.Host
	tool   *iptables.Tool
	passes *passes // since the last start
}

// eachFamily runs the test over both, at the same time.
func eachFamily(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Parallel()
	for _, family := range proxier.Families {
		t.Run(string(family), func(t *testing.T) {
			t.Parallel()
			testenv.Need(t, testenv.Root, testenv.IPTablesNFT)
			test(t, newStage(t, family))
		})
	}
}

// newStage has the pods "old" and "new" on node2, which both serve port 5353,
// and no Service yet.
func newStage(t *testing.T, family proxier.Family) *stage {
	t.Helper()
	c := testenv.StartCluster(t)
	s := &stage{Cluster: c, t: t, family: family, store: cluster(nil), node1: c.Node("node1")}
	s.client = s.pod("node1", "client")
	s.old, s.next = s.pod("node2", "old"), s.pod("node2", "new")
	s.serve("udp", s.old, 5353)
	s.serve("udp", s.next, 5353)
	s.do(func() (err error) {
		s.tool, err = iptables.FindTool(t.Context(), family)
		if err == nil && s.tool.Variant != "nft" {
			s.tool, err = s.tool.OtherVariant()
		}
		return err
	})
	return s
}

func (s *stage) do(f func() error) {
	s.t.Helper()
	if err := s.node1.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) pod(node, name string) *testenv.Host {
	s.t.Helper()
	pod, err := s.Node(node).AddPod(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return pod
}

func (s *stage) addr(h *testenv.Host) netip.Addr {
	if s.family == proxier.IPv4 {
		return h.Addr4()
	}
	return h.Addr6()
}

func (s *stage) serve(proto string, h *testenv.Host, port uint16) {
	s.t.Helper()
	if _, err := h.Serve(proto, netip.AddrPortFrom(s.addr(h), port)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) vip(port uint16) netip.AddrPort {
	vip := vip4
	if s.family == proxier.IPv6 {
		vip = vip6
	}
	return netip.AddrPortFrom(netip.MustParseAddr(vip), port)
}

// setService makes shop/dns, created afresh, or changes it.
func (s *stage) setService(mutate ...func(*corev1.Service)) { s.store.SetService(service(mutate...)) }

// setEndpoints makes these pods the endpoints.
func (s *stage) setEndpoints(pods ...*testenv.Host) {
	var texts []string
	for _, pod := range pods {
		text := s.addr(pod).String()
		if s.node1.PodCIDRs[0].Contains(pod.Addr4()) {
			text += " here"
		}
		texts = append(texts, text)
	}
	s.store.SetEndpointSlice(slice(s.family, texts...))
}

// start runs the dataplanes until the test or stop ends them. alone leaves out
// what this package does.
func (s *stage) start(alone bool) (stop func()) {
	s.t.Helper()
	seen := &passes{}
	s.passes = seen
	r := &proxier.Reconciler{
		Store: s.store, Options: clustergen.Options(s.family), Reporter: seen,
		Pacer: proxier.Pacer{MinInterval: 10 * time.Millisecond, MaxBackoff: time.Second},
		Dataplanes: []proxier.Dataplane{iptables.NewDataplane(tables{s.node1.Host, s.tool}, iptables.Config{
			Options:  iptables.Options{Features: s.tool.Probe(s.t.Context()), MasqueradeBit: 14},
			MaxNames: s.tool.MaxNames(),
		})},
	}
	want := 1
	if !alone {
		r.Followers = []proxier.Dataplane{conntrack.NewDataplane(table{s.node1.Host})}
		want = 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		for _, err := range seen.failed() {
			s.t.Errorf("a pass failed: %v", err)
		}
	})
	s.t.Cleanup(stop)
	s.eventually("the first pass", func() bool { return seen.count() >= want })
	return stop
}

// passes remembers reports.
type passes struct {
	mu       sync.Mutex
	n        int
	errs     []error
	followed *proxier.State
}

func (p *passes) Synced(r proxier.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	if r.Following {
		p.followed = r.State
	}
	if r.Err != nil {
		p.errs = append(p.errs, r.Err)
	}
}

func (p *passes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func (p *passes) failed() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errs
}

// follows reports whether the flows were compared with such a State.
func (p *passes) follows(such func(*proxier.State) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.followed != nil && such(p.followed)
}

// patience is how long a test waits for what should take milliseconds.
const patience = 20 * time.Second

func (s *stage) eventually(what string, done func() bool) {
	s.t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		if done() {
			return
		}
	}
	s.t.Fatalf("%s: not within %s; node1 tracks\n%s", what, patience, s.tracked())
}

// open starts a UDP flow from port 4000 of the host.
func (s *stage) open(from *testenv.Host, to netip.AddrPort) *testenv.Conn {
	s.t.Helper()
	conn, err := from.Open(s.t.Context(), "udp", to, testenv.DialOptions{
		Source: netip.AddrPortFrom(s.addr(from), 4000), Timeout: 100 * time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends once, from a port of the kernel's choice.
func (s *stage) ask(from *testenv.Host, to netip.AddrPort) string {
	reply, err := from.Dial(s.t.Context(), "udp", to, testenv.DialOptions{Timeout: 100 * time.Millisecond})
	return testenv.Outcome(reply, err)
}

// answers has the client send until that server answers.
func (s *stage) answers(conn *testenv.Conn, server string) {
	s.t.Helper()
	start := time.Now()
	s.eventually("an answer from "+server, func() bool { return testenv.Outcome(conn.Ask()) == server })
	s.t.Logf("answered by %s after %s", server, time.Since(start).Round(time.Millisecond))
}

// flows are the flows that node1 tracks and that the test asks for.
func (s *stage) flows(wanted func(*conntrack.Flow) bool) []conntrack.Flow {
	s.t.Helper()
	var flows []conntrack.Flow
	err := table{s.node1.Host}.Flows(s.t.Context(), s.family, func(f *conntrack.Flow) bool {
		if wanted(f) {
			flows = append(flows, *f)
		}
		return true
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return flows
}

func (s *stage) tracked() (text string) {
	for _, f := range s.flows(func(*conntrack.Flow) bool { return true }) {
		text += f.String() + "\n"
	}
	return text
}

// to is the flows to an address and port.
func (s *stage) to(dst netip.AddrPort) []conntrack.Flow {
	s.t.Helper()
	return s.flows(func(f *conntrack.Flow) bool { return f.Original.Dst == dst })
}

// tables are a host's iptables.
type tables struct {
	host *testenv.Host
	tool *iptables.Tool
}

func (k tables) Save(ctx context.Context, name string) (text string, err error) {
	err = k.host.Do(func() (err error) { text, err = k.tool.Save(ctx, name); return err })
	return text, err
}

func (k tables) SaveChain(ctx context.Context, name, chain string) (text string, err error) {
	err = k.host.Do(func() (err error) { text, err = k.tool.SaveChain(ctx, name, chain); return err })
	return text, err
}

func (k tables) Restore(ctx context.Context, input string) error {
	return k.host.Do(func() error { return k.tool.Restore(ctx, input) })
}

// table is a host's table of connections.
type table struct{ host *testenv.Host }

func (k table) Flows(ctx context.Context, family proxier.Family, yield func(*conntrack.Flow) bool) error {
	return k.host.Do(func() error { return conntrack.Table{}.Flows(ctx, family, yield) })
}

func (k table) Delete(ctx context.Context, family proxier.Family, flows []conntrack.Stale) error {
	return k.host.Do(func() error { return conntrack.Table{}.Delete(ctx, family, flows) })
}
