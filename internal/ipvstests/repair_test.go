package ipvstests

import (
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A mischief is what somebody does to what IPVS mode has written.
type mischief struct {
	name string
	// dataplane is the one that repairs it.
	dataplane string
	// commands are what is done to a family.
	commands func(s *stage, family proxier.Family) []string
}

func mischiefs() []mischief {
	line := fmt.Sprintf
	set := func(family proxier.Family) string { return ipset.Name(family, ipset.ClusterIPs) }
	return []mischief{
		{"an entry of a set deleted", "ipset", func(s *stage, family proxier.Family) []string {
			return []string{line("ipset del %s %s,tcp:80", set(family), s.addressOf(family, "cluster", 10).Addr())}
		}},
		{"a set flushed", "ipset", func(_ *stage, family proxier.Family) []string {
			return []string{line("ipset flush %s", set(family))}
		}},
		{"a set destroyed, with the rules that use it", "ipset", func(_ *stage, family proxier.Family) []string {
			command := map[proxier.Family]string{proxier.IPv4: "iptables", proxier.IPv6: "ip6tables"}[family]
			return []string{
				line("%s -w 5 -t nat -F", command), line("%s -w 5 -t filter -F", command), line("ipset destroy %s", set(family)),
			}
		}},
		{"a virtual server deleted", "ipvs", func(s *stage, family proxier.Family) []string {
			return []string{line("ipvsadm -D -t %s", s.addressOf(family, "cluster", 10))}
		}},
		{"a real server deleted", "ipvs", func(s *stage, family proxier.Family) []string {
			server := netip.AddrPortFrom(own(s.hosts["here"], family), 8080)
			return []string{line("ipvsadm -d -t %s -r %s", s.addressOf(family, "cluster", 10), server)}
		}},
		{"an address deleted", "addresses", func(s *stage, family proxier.Family) []string {
			addr := s.addressOf(family, "cluster", 10).Addr()
			return []string{line("ip address delete %s/%d dev %s", addr, addr.BitLen(), device.Name)}
		}},
		{"the device deleted", "addresses", func(*stage, proxier.Family) []string {
			return []string{line("ip link delete %s", device.Name)}
		}},
	}
}

// rounds is for measuring, and for what seldom fails:
//
//	make test-ipvs IPVS=./internal/ipvstests IPVSFLAGS='-test.run=Repaired -test.v -rounds=20'
var rounds = flag.Int("rounds", 1, "how often repairs, changes of the mode and kills are made")

// TestWhatOthersDoIsRepaired: the real program, which would compare with the
// kernel once an hour, notices what others do and repairs it. The times it logs
// are from the end of what was done to the end of the repair, in a machine that
// may be many times slower than a real one.
func TestWhatOthersDoIsRepaired(t *testing.T) {
	s := newStage(t, []string{"here"}, []string{"there"}, settings{})
	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	writeFile(t, dir, "config.conf", testenv.Configuration+"mode: ipvs\niptables: {syncPeriod: 1h}\nipvs: {syncPeriod: 1h}\n")
	took := repairTimes{}
	// Also of a run that fails, and of a long one before its end.
	defer took.log(t)
	for round := range *rounds {
		if round > 0 && round%10 == 0 {
			took.log(t)
		}
		p := newProgram(t, s)
		p.start(t, "--config="+filepath.Join(dir, "config.conf"), "--manifests="+filepath.Join(dir, "web.yaml"), "--hostname-override=node1")
		p.awaitInForce(t)
		for _, m := range mischiefs() {
			for _, family := range proxier.Families {
				took[m.name] = append(took[m.name], p.repairs(t, m, family))
				p.awaitInForce(t)
			}
		}
		if strings.Contains(p.log.String(), "Somebody else keeps changing") {
			t.Error("that was a feud: the times say nothing")
		}
		p.end(t)
		// So that the next one is known to have begun when all is in force.
		if output, err := s.node.Command(t.Context(), p.file, "cleanup").CombinedOutput(); err != nil {
			t.Fatalf("cleanup: %v: %s", err, output)
		}
	}
}

// repairTimes are how long repairs took, by the name of the mischief.
type repairTimes map[string][]time.Duration

func (r repairTimes) log(t *testing.T) {
	t.Helper()
	for _, m := range mischiefs() {
		all := slices.Sorted(slices.Values(r[m.name]))
		if len(all) == 0 {
			continue
		}
		quantile := func(q int) time.Duration { return all[(len(all)-1)*q/100].Round(time.Millisecond) }
		t.Logf("%-45s repaired %d times, p50 %v, p99 %v, at most %v", m.name, len(all), quantile(50), quantile(99), quantile(100))
	}
}

// repairs does mischief and returns how long the repair took.
func (p *program) repairs(t *testing.T, m mischief, family proxier.Family) time.Duration {
	t.Helper()
	repairs := func() int {
		return strings.Count(p.log.String(), fmt.Sprintf("they are repaired\" family=%q dataplane=%q", family, m.dataplane))
	}
	before := repairs()
	// A set that rules use cannot be destroyed, and the rules may be back already.
	for attempts := 3; ; attempts-- {
		output, err := p.stage.node.Command(t.Context(), "sh", "-ec", strings.Join(m.commands(p.stage, family), "\n")).CombinedOutput()
		if err == nil {
			break
		}
		if attempts == 1 {
			t.Fatalf("%s: %v: %s", m.name, err, output)
		}
	}
	start := time.Now()
	p.awaitEach(t, 5*time.Millisecond, func() string {
		if repairs() > before {
			return ""
		}
		return fmt.Sprintf("%s over %s: %s does not repair it", m.name, family, m.dataplane)
	})
	return time.Since(start)
}
