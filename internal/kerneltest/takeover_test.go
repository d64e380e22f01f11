package kerneltest

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// takeoverTraffic is sent all the time while kube-proxy's rules become ours.
const takeoverTraffic = `
pod 10.244.1.5       10.96.0.10:53/udp        10.244.1.10:53 10.244.2.10:53
pod 10.244.1.5       10.96.10.1:80/tcp        10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080
pod 10.244.1.5       10.96.10.5:6379/tcp      10.244.1.61:6379
pod 10.244.1.5       10.96.10.6:80/tcp        reject
pod 10.244.1.22      10.96.10.1:80/tcp        10.244.1.21:8080 10.244.1.22:8080=masq 10.244.2.21:8080
pod 10.244.2.5%eth0  10.96.10.1:443/tcp       10.244.1.21:8443 10.244.1.22:8443 10.244.2.21:8443
node                 10.96.0.10:53/tcp        10.244.1.10:53 10.244.2.10:53 masq
node                 172.18.0.11:30080/tcp    10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
node                 10.96.10.11:9100/tcp     172.18.0.11:9100 172.18.0.12:9100 masq
client 198.51.100.7  172.18.0.11:30080/tcp    10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
client 198.51.100.7  203.0.113.10:80/tcp      10.244.1.21:8080 10.244.1.22:8080 10.244.2.21:8080 masq
client 192.0.2.7     203.0.113.10:80/tcp      drop
client 198.51.100.7  203.0.113.20:443/tcp     10.244.1.31:9443
client 198.51.100.7  192.0.2.70:514/udp       10.244.1.91:514
client 198.51.100.7  203.0.113.22:443/tcp     drop
client 198.51.100.7  172.18.0.11:30086/tcp    reject
pod fd00:10:244:1::5       [fd00:10:96::a]:53/udp       [fd00:10:244:1::10]:53 [fd00:10:244:2::10]:53
pod fd00:10:244:2::5%eth0  [fd00:10:96::a01]:80/tcp     [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080
node                       [fd00:10:96::a]:53/udp       [fd00:10:244:1::10]:53 [fd00:10:244:2::10]:53 masq
client 2001:db8:51::7      [2001:db8:113::10]:80/tcp    [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080 [fd00:10:244:2::21]:8080 masq
client 2001:db8:51::7      [fd00:172:18::11]:30443/tcp  [fd00:10:244:1::21]:8443 [fd00:10:244:1::22]:8443 [fd00:10:244:2::21]:8443 masq
`

// othersRules are the kubelet's and a stranger's, which must stay.
const othersRules = `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:STRANGER - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp -m tcp --dport 22 -j STRANGER
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
-A STRANGER -m comment --comment "not ours" -j ACCEPT
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
-A POSTROUTING -m mark --mark 0x1/0x1 -m comment --comment "not ours" -j MASQUERADE
COMMIT
`

// TestTakeover: a node on which kube-proxy has run is taken over in one call
// for each family. While that happens no connection fails, and none gets
// through that should not.
func TestTakeover(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := castOf(t, dumpObjects(t), takeoverTraffic)
		p := &play{stage: newStage(t, c.places, c.targets()), cast: c}
		kernels := newKernels(t, p.node1.Host, variant)
		before := map[proxier.Family]map[string]string{}
		for family, k := range kernels {
			loadKubeProxy(t, k, variant)
			before[family] = saveAll(t, k)
		}
		p.startServers(t)

		stop := p.stream(t)
		for family, k := range kernels {
			serve(t, iptables.NewDataplane(k, k.config(t, 14)), dumpState(t, family))
		}
		stop()

		for family, k := range kernels {
			if k.sent() != 1 {
				t.Errorf("%s: took over in %d calls, want 1", family, k.sent())
			}
			mustBeRight(t, k, k.config(t, 14), dumpState(t, family))
			after := saveAll(t, k)
			mustKeepOthers(t, before[family], after)
			for _, table := range []string{iptables.NAT, iptables.Filter} {
				for name := range rulesOf(after[table]) {
					if strings.HasPrefix(name, "KUBE-SEP-") || name == "KUBE-PROXY-CANARY" {
						t.Errorf("%s %s: kube-proxy's chain %s is left", family, table, name)
					}
				}
			}
		}
	})
}

// nfacct counts packets for kube-proxy's metrics where the kernel has it.
var nfacct = regexp.MustCompile(` -m nfacct --nfacct-name +\S+`)

// loadKubeProxy brings kube-proxy's recorded rules into the kernel, and others'.
func loadKubeProxy(t *testing.T, k *kernel, variant testenv.Variant) {
	t.Helper()
	version := strings.TrimPrefix(string(k.tool.Family), "IP")
	save, err := os.ReadFile(fmt.Sprintf("%skube-proxy-iptables-%s.%s.save", dumps, variant, version))
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range []string{nfacct.ReplaceAllString(string(save), ""), othersRules} {
		if err := k.host.Do(func() error { return k.tool.Restore(t.Context(), input) }); err != nil {
			t.Fatal(err)
		}
	}
}

// saveAll is what the kernel has, by table.
func saveAll(t testing.TB, k *kernel) map[string]string {
	t.Helper()
	saves := map[string]string{}
	for _, table := range []string{iptables.NAT, iptables.Filter, iptables.Mangle} {
		text, err := k.Save(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		saves[table] = text
	}
	return saves
}

// mustKeepOthers compares all that is not ours: other chains, and in built-in
// chains the rules that do not jump to ours.
func mustKeepOthers(t *testing.T, before, after map[string]string) {
	t.Helper()
	for table := range before {
		if diff := cmp.Diff(othersOf(table, before[table]), othersOf(table, after[table])); diff != "" {
			t.Errorf("%s: rules of others (- before, + after):\n%s", table, diff)
		}
	}
}

func othersOf(table, save string) map[string][]string {
	others := map[string][]string{}
	for name, rules := range rulesOf(save) {
		if iptables.OwnedChain(table, name) {
			continue
		}
		others[name] = slices.DeleteFunc(rules, func(rule string) bool {
			_, target, _ := strings.Cut(rule, " -j ")
			return iptables.OwnedChain(table, target)
		})
	}
	return others
}

// dialsAround is the length of a stream: so many dials before the change and
// after it where they are answered, and one where they are not.
const dialsAround = 30

// patience outlasts any stall of a busy machine. A lost datagram is still seen,
// as nobody repeats it; and a lost SYN that TCP repeats after 1 s mostly is, as
// connection tracking stands by what became of the first.
const patience = 5 * time.Second

// stream keeps sending all packets, from one goroutine each, and reports those
// that fare other than the table says. It returns when all are running; stop
// lets them go on for a while and waits for their end.
func (p *play) stream(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var running, after, done sync.WaitGroup
	var changed atomic.Bool
	for _, c := range p.cases {
		dials := dialsAround
		if c.Want.Verdict == tracer.Drop {
			dials = 1
		}
		running.Add(1)
		after.Add(1)
		done.Go(func() {
			since := 0 // dials begun after the change
			for n := 0; ctx.Err() == nil; n++ {
				if n == dials {
					running.Done()
				}
				if changed.Load() {
					if since == dials {
						after.Done()
					}
					since++
				}
				if err := p.dialOnce(t, c); err != nil {
					t.Errorf("packets, line %d, %q, dial %d (%d after the change): %v", c.Line, c.Text, n, since, err)
				}
			}
		})
	}
	running.Wait()
	return func() {
		changed.Store(true)
		after.Wait()
		cancel()
		done.Wait()
	}
}

// dialOnce dials and checks who answered.
func (p *play) dialOnce(t *testing.T, c packets.Case) error {
	want, timeout := "an answer", patience
	switch c.Want.Verdict {
	case tracer.Drop:
		want, timeout = "timed out", silence
	case tracer.Reject:
		want = "refused"
	}
	seen, err := p.dialWithin(t, c, timeout)
	if want != "an answer" {
		if have := testenv.Outcome(seen.Reply, err); err == nil || have != want {
			return fmt.Errorf("%s (%+v, %v), want %s", have, seen.Reply, err, want)
		}
		return nil
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.Want.Endpoints, func(e packets.Endpoint) bool { return e.AddrPort == seen.Local })
	if i < 0 {
		return fmt.Errorf("%s answered", seen.Local)
	}
	masquerade := c.Want.Endpoints[i].Masquerade
	if fits, certain := p.sourceFits(seen, masquerade); !fits && certain {
		return fmt.Errorf("%s saw %s, sent from %s: masqueraded has to be %t", seen.Local, seen.Peer, seen.from, masquerade)
	}
	return nil
}
