package ipvstests

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

const dumps = "../../testdata/dumps/"

// kubeProxyRules are chains as kube-proxy has them in IPVS mode, as far as they
// matter to a take-over: they look into its sets.
const kubeProxyRules = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-NODE-PORT - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
-A KUBE-SERVICES ! -s 10.244.0.0/16 -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE
COMMIT
*filter
:KUBE-IPVS-FILTER - [0:0]
:KUBE-NODE-PORT - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A INPUT -m comment --comment "kubernetes health check rules" -j KUBE-NODE-PORT
-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-HEALTH-CHECK-NODE-PORT dst -j ACCEPT
-A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m set --match-set KUBE-EXTERNAL-IP-LOCAL dst,dst -j RETURN
-A KUBE-IPVS-FILTER -m conntrack --ctstate NEW -m set --match-set KUBE-IPVS-IPS dst -j REJECT
COMMIT
`

// A node on which kube-proxy has run in IPVS mode is taken over: no connection
// fails meanwhile, and what kube-proxy has made is gone or ours.
func TestTakeoverFromKubeProxy(t *testing.T) {
	s := newStage(t, []string{"asker"}, nil, settings{look: time.Millisecond})
	s.addEndpoints(t)
	s.loadKubeProxy(t)
	m := source.Manifests{Path: dumps + "objects.json", NodeName: "node1"}
	objects, _, err := m.Load()
	if err != nil {
		t.Fatal(err)
	}
	source.Fill(s.store, objects)
	s.store.SetSynced()
	stop := s.stream(t, recordedDials())
	p := s.proxies[proxier.IPv4]
	p.sync(t)
	stop()
	for end := time.Now().Add(deadline); strings.Contains(p.servers(t), " -w 0\n"); { // those that only kube-proxy wanted drain
		if time.Now().After(end) {
			t.Fatalf("real servers do not stop to drain:\n%s", p.servers(t))
		}
		<-time.After(100 * time.Millisecond)
		p.sync(t)
	}
	for _, d := range p.reconciler.Dataplanes {
		d.Forget()
	}
	p.sync(t).mustBeEmpty(t)
	state := proxier.Build(nil, s.store.Snapshot(), p.reconciler.Options)
	want := ipvs.Compile(nil, state, ipvs.Options{NodeAddresses: []netip.Addr{s.node.Addr4()}})
	var have []string
	for line := range strings.Lines(p.servers(t)) {
		if !strings.Contains(line, "10.0.2.15") { // an address of another node, so not ours to delete
			have = append(have, line)
		}
	}
	if text := strings.Join(have, ""); text != ipvs.Text(want.Servers) {
		t.Errorf("virtual servers are\n%swant\n%s", text, ipvs.Text(want.Servers))
	}
	for _, gone := range []string{"KUBE-LOAD-BALANCER", "KUBE-LOOP-BACK", "KUBE-HEALTH-CHECK-NODE-PORT", "KUBE-NODE-PORT-LOCAL-TCP"} {
		if err := s.node.Command(t.Context(), "ipset", "list", "-n", gone).Run(); err == nil {
			t.Errorf("kube-proxy's set %s is left", gone)
		}
	}
	rules, err := s.node.Command(t.Context(), "iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"KUBE-LOAD-BALANCER", "KUBE-IPVS-FILTER", "KUBE-LOOP-BACK"} {
		if strings.Contains(string(rules), gone) {
			t.Errorf("rules still speak of %s:\n%s", gone, rules)
		}
	}
}

// recordedDials are to Services of the dump's objects.
func recordedDials() []dial {
	at := netip.MustParseAddrPort
	return []dial{
		{"asker", "tcp", at("10.96.10.1:80")},
		{"asker", "udp", at("10.96.0.10:53")},
		{"node", "tcp", at("10.96.10.1:443")},
		{"node", "tcp", at("172.18.0.11:30080")},
		{"client", "tcp", at("203.0.113.10:80")},
		{"client", "tcp", at("203.0.113.20:443")},
		{"client", "tcp", at("172.18.0.11:30080")},
		{"client", "tcp", at("172.18.0.11:30084")},
	}
}

// addEndpoints makes some pods of the dump's objects.
func (s *stage) addEndpoints(t *testing.T) {
	t.Helper()
	for node, n := range map[*testenv.Node]int{s.node: 1, s.Node("node2"): 2} {
		var addrs []netip.Addr
		ports := map[int][]string{10: {"53"}, 21: {"8080", "8443"}, 22: {"8080", "8443"}, 31: {"9443"}, 51: {"8080"}, 52: {"8080"}}
		for last := range ports {
			addrs = append(addrs, netip.AddrFrom4([4]byte{10, 244, byte(n), byte(last)}))
		}
		pod, err := node.AddPod("endpoints", addrs...)
		if err != nil {
			t.Fatal(err)
		}
		for last, list := range ports {
			for _, port := range list {
				for _, protocol := range []string{"tcp", "udp"} {
					at := netip.MustParseAddrPort(fmt.Sprintf("10.244.%d.%d:%s", n, last, port))
					if _, err := pod.Serve(protocol, at); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// parameters of sets that only the kernel which chose them has to know.
var parameters = regexp.MustCompile(` (bucketsize|initval) \S+`)

// loadKubeProxy brings kube-proxy's recorded sets, virtual servers and addresses
// into the kernel, and its rules.
func (s *stage) loadKubeProxy(t *testing.T) {
	t.Helper()
	sets, err := os.ReadFile(dumps + "kube-proxy-ipvs.ipset")
	if err != nil {
		t.Fatal(err)
	}
	s.feed(t, parameters.ReplaceAllString(string(sets), ""), "ipset", "restore")
	s.feed(t, kubeProxyRules, "iptables-restore", "--noflush")
	text, err := os.ReadFile(dumps + "kube-proxy-ipvs.ipvsadm")
	if err != nil {
		t.Fatal(err)
	}
	servers, err := ipvs.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	ops := []device.Op{{Verb: device.CreateDevice}}
	seen := map[netip.Addr]bool{s.node.Addr4(): true, netip.MustParseAddr("10.0.2.15"): true}
	for _, v := range servers {
		if addr := v.Addr.Addr(); addr.Is4() && !seen[addr] {
			seen[addr] = true
			ops = append(ops, device.Op{Verb: device.Add, Addr: addr})
		}
	}
	var four []*ipvs.VirtualServer
	for _, v := range servers {
		if v.Family() == proxier.IPv4 {
			four = append(four, v)
		}
	}
	if _, err := s.proxies[proxier.IPv4].kernel.Do(t.Context(), ipvs.Create(four)); err != nil {
		t.Fatal(err)
	}
	if err := s.node.Sysctl("ipv4/vs/conntrack", "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.node.Do(func() error { return device.Netlink{}.Do(t.Context(), ops) }); err != nil {
		t.Fatal(err)
	}
}

// feed runs a command on the node with input.
func (s *stage) feed(t *testing.T, input, name string, args ...string) {
	t.Helper()
	cmd := s.node.Command(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader(input)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, output)
	}
}
