package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// stages is how many networks there are for each variant, to be used at once.
const stages = 2

// silence is how long the answer to a packet that must be dropped is waited for.
// An answer would take a millisecond; on a machine that is too busy for that, the
// test sees less, and does not fail.
const silence = 300 * time.Millisecond

// minSent is the part of all packets that must be sent for the test to count.
const minSent = 0.9

// TestPackets sends the packets of all scenarios for real: who answers, what
// source the server sees, what is refused and what disappears must be what the
// packet table says, as it is for the tracer.
func TestPackets(t *testing.T) {
	var all []*cast
	for _, s := range loadScenarios(t) {
		c, err := newCast(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	mustSendMost(t, all)
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		for i, group := range groups(all) {
			t.Run(fmt.Sprintf("stage%d", i), func(t *testing.T) {
				t.Parallel()
				playAll(t, variant, group)
			})
		}
	})
}

// mustSendMost says what is left out, and fails if it is too much.
func mustSendMost(t *testing.T, all []*cast) {
	t.Helper()
	sent, skipped, reasons := 0, 0, map[string]int{}
	for _, c := range all {
		sent += len(c.cases)
		for reason, n := range c.skipped {
			reasons[reason] += n
			skipped += n
		}
	}
	t.Logf("%d scenarios, %d packets; not sent are %d: %v", len(all), sent, skipped, reasons)
	if float64(sent) < minSent*float64(sent+skipped) {
		t.Errorf("only %d of %d packets can be sent", sent, sent+skipped)
	}
}

// group is scenarios that agree on where everybody is.
type group struct {
	casts  []*cast
	places places
}

// groups divides the scenarios evenly; there are more than stages where they
// disagree.
func groups(all []*cast) []*group {
	list := make([]*group, stages)
	for i := range list {
		list[i] = &group{places: places{}}
	}
	for _, c := range all {
		slices.SortStableFunc(list, func(a, b *group) int { return len(a.casts) - len(b.casts) })
		i := slices.IndexFunc(list, func(g *group) bool { return g.places.merge(c.places) })
		if i < 0 {
			list, i = append(list, &group{places: c.places}), len(list)
		}
		list[i].casts = append(list[i].casts, c)
	}
	return slices.DeleteFunc(list, func(g *group) bool { return len(g.casts) == 0 })
}

func playAll(t *testing.T, variant testenv.Variant, g *group) {
	var targets []netip.Addr
	for _, c := range g.casts {
		targets = append(targets, c.targets()...)
	}
	s := newStage(t, g.places, targets)
	kernels := newKernels(t, s.node1.Host, variant)
	for _, c := range g.casts {
		t.Run(c.Name, func(t *testing.T) {
			p := play{stage: s, cast: c}
			p.prepare(t, kernels)
			p.run(t)
		})
	}
}

// play is one scenario on a stage.
type play struct {
	*stage
	*cast
	// byDevice: the rules look at devices, which get the packets' names.
	byDevice bool

	servers map[string]bool // those that run
}

// prepare loads the rules and starts the servers.
func (p *play) prepare(t *testing.T, kernels map[proxier.Family]*kernel) {
	p.ownAddresses(t)
	localnet := "0"
	for _, family := range proxier.Families {
		k, state := kernels[family], p.State(family)
		config := k.config(t, p.Config.MasqueradeBit)
		serve(t, iptables.NewDataplane(k, config), state)
		if family == proxier.IPv4 && state.NodePortAddresses.Loopback {
			localnet = "1"
		}
		p.byDevice = p.byDevice || state.LocalPods.Interface+state.LocalPods.InterfacePrefix != ""
	}
	if err := p.node1.Sysctl("ipv4/conf/all/route_localnet", localnet); err != nil {
		t.Fatal(err)
	}
	if err := flushConntrack(p.node1); err != nil {
		t.Fatal(err)
	}
	p.startServers(t)
}

// ownAddresses gives node1 those it has beyond the usual.
func (p *play) ownAddresses(t *testing.T) {
	for _, addr := range p.nodeIPs {
		if slices.Contains(p.node1.Addrs(), addr) {
			continue
		}
		if err := p.node1.AddAddress(addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.node1.RemoveAddress(addr); err != nil {
				t.Error(err)
			}
		})
	}
}

func (p *play) startServers(t *testing.T) {
	for _, c := range p.cases {
		for _, at := range serversOf(c) {
			p.startServer(t, c.Packet.Protocol, at)
		}
	}
}

// startServer starts it where the address is, unless it runs.
func (p *play) startServer(t *testing.T, protocol string, at netip.AddrPort) {
	key := fmt.Sprintf("%s %s", protocol, at)
	if p.servers[key] {
		return // for a packet before
	}
	if p.servers == nil {
		p.servers = map[string]bool{}
	}
	p.servers[key] = true
	host := p.hosts[at.Addr()]
	if p.own(at.Addr()) {
		host = p.node1.Host
	}
	server, err := listen(t.Context(), host, protocol, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
}

// listen is Serve at an address where another server has just been closed. That
// may still be open in a process that is being started somewhere else in this
// test: between fork and exec it holds a copy of all sockets.
func listen(ctx context.Context, host *testenv.Host, protocol string, at netip.AddrPort) (*testenv.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		server, err := host.Serve(protocol, at)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return server, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (p *play) run(t *testing.T) {
	if p.remembers() || p.byDevice {
		for _, c := range p.cases {
			p.check(t, c)
		}
		return
	}
	var all sync.WaitGroup
	for _, c := range p.cases {
		all.Go(func() { p.check(t, c) })
	}
	all.Wait()
}

func (p *play) check(t *testing.T, c packets.Case) {
	if p.byDevice && p.stage.places[c.Packet.Src] == podHere {
		before, err := deviceTo(p.node1, c.Packet.Src)
		if err == nil {
			err = rename(p.node1, c.Packet.Src, c.Packet.InInterface)
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer func() {
			if err := rename(p.node1, c.Packet.Src, before.Attrs().Name); err != nil {
				t.Error(err)
			}
		}()
	}
	if err := p.send(t, c); err != nil {
		t.Errorf("packets, line %d, %q: %v", c.Line, c.Text, err)
	}
}

// send sends a case's packet as often as it takes to see all that can become
// of it.
func (p *play) send(t *testing.T, c packets.Case) error {
	switch c.Want.Verdict {
	case tracer.Drop:
		return p.mustFail(t, c, "timed out", silence)
	case tracer.Reject:
		return p.mustFail(t, c, "refused", testenv.DefaultTimeout)
	}
	if len(c.Want.Endpoints) == 0 {
		return p.sendTo(t, c, []packets.Endpoint{{
			AddrPort: netip.AddrPortFrom(c.Packet.Dst, c.Packet.DstPort), Masquerade: c.Want.Masquerade,
		}})
	}
	return p.sendTo(t, c, c.Want.Endpoints)
}

func (p *play) mustFail(t *testing.T, c packets.Case, want string, timeout time.Duration) error {
	seen, err := p.dialWithin(t, c, timeout)
	if have := testenv.Outcome(seen.Reply, err); err == nil || have != want {
		return fmt.Errorf("%s (%+v, %v), want %s", have, seen.Reply, err, want)
	}
	return nil
}

// sendTo dials until all endpoints have answered. A client that is remembered
// must meet the same one again and again.
func (p *play) sendTo(t *testing.T, c packets.Case, endpoints []packets.Endpoint) error {
	dials := enough(len(endpoints))
	if c.Want.Recent {
		dials = 5
	}
	answered := map[netip.AddrPort]bool{}
	unclear := 0
	for n := 0; n < dials && (c.Want.Recent || len(answered) < len(endpoints)); n++ {
		seen, err := p.dial(t, c)
		if err != nil {
			return fmt.Errorf("dial %d: %w", n+1, err)
		}
		i := slices.IndexFunc(endpoints, func(e packets.Endpoint) bool { return e.AddrPort == seen.Local })
		if i < 0 {
			return fmt.Errorf("%s answered", seen.Local)
		}
		fits, certain := p.sourceFits(seen, endpoints[i].Masquerade)
		if !fits {
			if unclear++; certain || unclear > maxUnclear {
				return fmt.Errorf("%s saw %s, sent from %s: masqueraded has to be %t",
					seen.Local, seen.Peer, seen.from, endpoints[i].Masquerade)
			}
			continue
		}
		answered[seen.Local] = true
		if c.Want.Recent && len(answered) > 1 {
			return fmt.Errorf("dial %d: another endpoint than before, %s", n+1, seen.Local)
		}
	}
	if !c.Want.Recent && len(answered) < len(endpoints) {
		return fmt.Errorf("after %d dials only %v have answered", dials, answered)
	}
	return nil
}

// enough dials that one of n endpoints is not among the answers by bad luck in
// one of 10⁹ tests: n·(1-1/n)^dials < 10⁻⁹.
func enough(n int) int {
	return int(math.Ceil(float64(n)*(math.Log(float64(n))+21))) + 5
}

// seen is an answer with the source the packet was sent from.
type seen struct {
	testenv.Reply
	from netip.AddrPort
}

func (p *play) dial(t *testing.T, c packets.Case) (seen, error) {
	return p.dialWithin(t, c, testenv.DefaultTimeout)
}

func (p *play) dialWithin(t *testing.T, c packets.Case, timeout time.Duration) (seen, error) {
	from := p.node1.Host
	if c.From != packets.Node {
		from = p.hosts[c.Packet.Src]
	}
	conn, err := from.Open(t.Context(), c.Packet.Protocol, netip.AddrPortFrom(c.Packet.Dst, c.Packet.DstPort),
		testenv.DialOptions{Source: netip.AddrPortFrom(c.Packet.Src, 0), Timeout: timeout})
	if err != nil {
		return seen{}, err
	}
	defer conn.Close()
	reply, err := conn.Ask()
	return seen{reply, conn.Local()}, err
}

// maxUnclear is how often the source port of the node's own connections may
// mislead. That of a masqueraded one, chosen from tens of thousands, can be the
// same by chance; and another one's is changed if it would be that of a
// connection before.
const maxUnclear = 2

// sourceFits compares the source before and after. The node's own address stays
// the same when it is masqueraded; then the port tells, but not for certain.
func (p *play) sourceFits(s seen, masqueraded bool) (fits, certain bool) {
	switch {
	case s.Peer.Addr() != s.from.Addr():
		return masqueraded, true
	case !slices.Contains(p.node1.Addrs(), s.from.Addr()):
		return !masqueraded, true
	}
	return masqueraded == (s.Peer.Port() != s.from.Port()), false
}
