package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// check looks at everything while nothing happens.
func (s *soak) check() {
	s.t.Helper()
	if log := s.daemon.log.text(); strings.Contains(log, "The kernel refuses") {
		s.t.Fatal("Services were left out because of faults that are not theirs")
	}
	var probes []testenv.Probe
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		service := s.services[name]
		frontends := slices.Concat(clusterIPs(service), nodePorts(service, s.node1), balancerIPs(service))
		frontends = slices.DeleteFunc(frontends, func(f frontend) bool { return f.to.Port() == 0 })
		if len(frontends) > 0 {
			probes = append(probes, from([]frontend{pick(s, frontends)}, pick(s, s.everybody()))...)
		}
	}
	tracers := map[bool]*tracer.Tracer{true: s.tracer("iptables-save"), false: s.tracer("ip6tables-save")}
	s.await("packets that fare as the rules say", func() string {
		for i, result := range testenv.DialAll(s.t.Context(), probes) {
			want := s.wanted(tracers[probes[i].To.Addr().Is4()], probes[i])
			if have := result.Outcome(); !slices.Contains(want, have) {
				return fmt.Sprintf("%s to %s %s: have %s, want one of %v", probes[i].From.Name, probes[i].Proto, probes[i].To, have, want)
			}
		}
		return ""
	})
	s.growth.look(s.t, s.metrics())
}

// tracer has node1's rules of one family.
func (s *soak) tracer(save string) *tracer.Tracer {
	s.t.Helper()
	rules, err := iptables.ParseSave(s.iptables(save))
	if err != nil {
		s.t.Fatal(err)
	}
	rules.Tables = slices.DeleteFunc(rules.Tables, func(t iptables.Table) bool {
		return t.Name != iptables.NAT && t.Name != iptables.Filter
	})
	tr, err := tracer.New(rules, tracer.Host{Addresses: s.node1.Addrs()})
	if err != nil {
		s.t.Fatal(err)
	}
	return tr
}

// wanted are the outcomes of a dial that the rules allow.
func (s *soak) wanted(tr *tracer.Tracer, probe testenv.Probe) []string {
	s.t.Helper()
	packet := tracer.Packet{Protocol: probe.Proto, Dst: probe.To.Addr(), DstPort: probe.To.Port(), SrcPort: 40000}
	packet.Src = probe.From.Addr6()
	if probe.To.Addr().Is4() {
		packet.Src = probe.From.Addr4()
	}
	switch probe.From {
	case s.caller:
		packet.InInterface = testenv.PodDevicePrefix + "1"
	case s.Client():
		packet.InInterface = "eth0"
	}
	result, err := tr.Trace(packet)
	if err != nil {
		s.t.Fatal(err)
	}
	var want []string
	for _, o := range result.Outcomes {
		want = append(want, s.fate(probe, o))
	}
	return want
}

// fate is what the one who dials sees of an outcome.
func (s *soak) fate(probe testenv.Probe, o tracer.Outcome) string {
	switch {
	case o.Verdict == tracer.Reject:
		return "refused"
	case o.Verdict == tracer.Drop:
		return "timed out"
	case !o.DNAT.IsValid() && slices.Contains(s.node1.Addrs(), probe.To.Addr()):
		return "refused" // nobody listens at the node
	case !o.DNAT.IsValid():
		return "timed out" // it leaves the node, to where nobody has the address
	}
	for _, pod := range []*testenv.Host{s.local, s.remote} {
		if slices.ContainsFunc(pod.Addrs(), func(a netip.Addr) bool { return a == o.DNAT.Addr() }) {
			return pod.Name
		}
	}
	return "nobody at " + o.DNAT.String()
}

// growth watches one process's size.
type growth struct {
	looks                   int
	first, last, most       float64 // resident memory, in bytes
	goroutines, goroutines0 float64
}

const (
	// settled is how many looks a process has to come to its size.
	settled = 3
	// moreMemory, in bytes, and moreGoroutines are what it may grow by then.
	moreMemory     = 32 << 20
	moreGoroutines = 20
)

var (
	residentMetric   = regexp.MustCompile(`(?m)^process_resident_memory_bytes (\S+)$`)
	goroutinesMetric = regexp.MustCompile(`(?m)^go_goroutines (\S+)$`)
)

// look fails the test when the process has grown.
func (g *growth) look(t interface {
	Helper()
	Fatalf(string, ...any)
}, metrics string,
) {
	t.Helper()
	value := func(metric *regexp.Regexp) float64 {
		found := metric.FindStringSubmatch(metrics)
		if found == nil {
			t.Fatalf("no %s in\n%s", metric, metrics)
		}
		v, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatalf("%s: %v", metric, err)
		}
		return v
	}
	g.looks++
	g.last, g.goroutines = value(residentMetric), value(goroutinesMetric)
	g.most = max(g.most, g.last)
	if g.looks <= settled {
		g.first, g.goroutines0 = max(g.first, g.last), max(g.goroutines0, g.goroutines)
		return
	}
	if g.last > g.first+moreMemory || g.goroutines > g.goroutines0+moreGoroutines {
		t.Fatalf("it has grown: %s", g)
	}
}

func (g growth) String() string {
	const mib = 1 << 20
	return fmt.Sprintf("the last process: %.1f MiB at first, %.1f at most, %.1f at last; %.0f goroutines at first, %.0f at last, in %d looks",
		g.first/mib, g.most/mib, g.last/mib, g.goroutines0, g.goroutines, g.looks)
}
