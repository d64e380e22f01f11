package ipvstests

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

const dumps = "../../testdata/dumps/"

// A node on which kube-proxy has run in IPVS mode is taken over: no connection
// fails meanwhile, those that it had opened go on, and what kube-proxy has made
// is gone or ours.
func TestTakeoverFromKubeProxy(t *testing.T) {
	s := newStage(t, []string{"asker"}, nil, settings{look: time.Millisecond})
	s.addEndpoints(t)
	recordedNode(t, s)
	s.loadKubeProxy(t)
	s.serveRecorded(t)
	conn, before := s.open(t, "client", "tcp", netip.MustParseAddrPort("203.0.113.10:80"))
	stop := s.stream(t, recordedDials())
	s.sync(t)
	stop()
	if after := goesOn(t, conn); after != before {
		t.Errorf("a connection that %s answered goes on with %s", before, after)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	for _, family := range proxier.Families {
		s.untilDrained(t, family)
		p := s.proxies[family]
		state := proxier.Build(nil, s.store.Snapshot(), p.reconciler.Options)
		want := ipvs.Compile(nil, state, ipvs.Options{NodeAddresses: s.nodeAddresses(t, family)})
		if diff := cmp.Diff(ipvs.Text(want.Servers), p.servers(t)); diff != "" {
			t.Errorf("%s: virtual servers (- want, + have):\n%s", family, diff)
		}
		s.mustLackKubeProxys(t, family)
	}
	s.settled(t)
}

// untilDrained makes passes until what only kube-proxy wanted has drained.
func (s *stage) untilDrained(t *testing.T, family proxier.Family) {
	t.Helper()
	p := s.proxies[family]
	for end := time.Now().Add(deadline); strings.Contains(p.servers(t), " -w 0\n"); {
		if time.Now().After(end) {
			t.Fatalf("real servers do not stop to drain:\n%s", p.servers(t))
		}
		<-time.After(100 * time.Millisecond)
		p.sync(t)
	}
}

// mustLackKubeProxys fails where something is left that only kube-proxy has.
func (s *stage) mustLackKubeProxys(t *testing.T, family proxier.Family) {
	t.Helper()
	save := map[proxier.Family]string{proxier.IPv4: "iptables-save", proxier.IPv6: "ip6tables-save"}[family]
	rules, err := s.node.Command(t.Context(), save).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"LOAD-BALANCER", "LOOP-BACK", "HEALTH-CHECK-NODE-PORT", "NODE-PORT-LOCAL-TCP"} {
		name := ipset.Name(family, "KUBE-"+gone)
		if err := s.node.Command(t.Context(), "ipset", "list", "-n", name).Run(); err == nil {
			t.Errorf("kube-proxy's set %s is left", name)
		}
		if strings.Contains(string(rules), name) {
			t.Errorf("rules still speak of %s:\n%s", name, rules)
		}
	}
	for _, chain := range []string{"KUBE-LOAD-BALANCER", "KUBE-IPVS-FILTER", "KUBE-SOURCE-RANGES-FIREWALL"} {
		if strings.Contains(string(rules), chain) {
			t.Errorf("kube-proxy's chain %s is left:\n%s", chain, rules)
		}
	}
}

// serveRecorded puts the recorded objects into the store.
func (s *stage) serveRecorded(t *testing.T) {
	t.Helper()
	m := source.Manifests{Path: dumps + "objects.json", NodeName: "node1"}
	objects, _, err := m.Load()
	if err != nil {
		t.Fatal(err)
	}
	source.Fill(s.store, objects)
	s.store.SetSynced()
}

// recordedDials are to Services of the dump's objects.
func recordedDials() []dial {
	dials := []dial{{from: "client", protocol: "tcp", to: netip.MustParseAddrPort("[2001:db8:113::10]:80"), source: testenv.ClientFar6()}}
	for _, d := range [][3]string{
		{"asker", "tcp", "10.96.10.1:80"},
		{"asker", "udp", "10.96.0.10:53"},
		{"node", "tcp", "10.96.10.1:443"},
		{"node", "tcp", "172.18.0.11:30080"},
		{"client", "tcp", "203.0.113.10:80"},
		{"client", "tcp", "203.0.113.20:443"},
		{"client", "tcp", "172.18.0.11:30080"},
		{"client", "tcp", "172.18.0.11:30084"},
		{"asker", "tcp", "[fd00:10:96::a01]:80"},
		{"asker", "udp", "[fd00:10:96::a]:53"},
		{"node", "tcp", "[fd00:10:96::a01]:443"},
		{"client", "tcp", "[fd00:172:18::11]:30443"},
	} {
		dials = append(dials, dial{from: d[0], protocol: d[1], to: netip.MustParseAddrPort(d[2])})
	}
	return dials
}

// addEndpoints makes some pods of the dump's objects.
func (s *stage) addEndpoints(t *testing.T) {
	t.Helper()
	for node, n := range map[*testenv.Node]int{s.node: 1, s.Node("node2"): 2} {
		ports := map[int][]uint16{10: {53}, 21: {8080, 8443}, 22: {8080, 8443}, 31: {9443}, 51: {8080}, 52: {8080}}
		var addrs []netip.Addr
		var places []netip.AddrPort
		for last, list := range ports {
			for _, format := range []string{"10.244.%d.%d", "fd00:10:244:%d::%d"} {
				addr := netip.MustParseAddr(fmt.Sprintf(format, n, last))
				addrs = append(addrs, addr)
				for _, port := range list {
					places = append(places, netip.AddrPortFrom(addr, port))
				}
			}
		}
		pod, err := node.AddPod("endpoints", addrs...)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range places {
			for _, protocol := range []string{"tcp", "udp"} {
				if _, err := pod.Serve(protocol, at); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// recordedNode gives the node the addresses that kube-proxy's had beside those of
// the test network.
func recordedNode(t *testing.T, s *stage) {
	t.Helper()
	for _, addr := range []string{"10.0.2.15", "fec0::5054:ff:fe12:3456"} {
		if err := s.node.AddAddress(netip.MustParseAddr(addr)); err != nil {
			t.Fatal(err)
		}
	}
}

// nodeAddresses are the node's own.
func (s *stage) nodeAddresses(t *testing.T, family proxier.Family) []netip.Addr {
	t.Helper()
	var host device.Host
	err := s.node.Do(func() (err error) {
		host, err = device.Netlink{}.List(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return host.NodeAddresses(family)
}

// parameters of sets that only the kernel which chose them has to know.
var parameters = regexp.MustCompile(` (bucketsize|initval) \S+`)

// loadKubeProxy brings all that kube-proxy was recorded to leave into the kernel:
// sets, rules, virtual servers, addresses.
func (s *stage) loadKubeProxy(t *testing.T) {
	t.Helper()
	s.feed(t, parameters.ReplaceAllString(recorded(t, "ipset"), ""), "ipset", "restore")
	s.feed(t, recorded(t, "v4.save"), "iptables-restore", "--noflush")
	s.feed(t, recorded(t, "v6.save"), "ip6tables-restore", "--noflush")
	servers, err := ipvs.Parse(recorded(t, "ipvsadm"))
	if err != nil {
		t.Fatal(err)
	}
	byFamily := map[proxier.Family][]*ipvs.VirtualServer{}
	for _, v := range servers {
		byFamily[v.Family()] = append(byFamily[v.Family()], v)
	}
	for family, list := range byFamily {
		if _, err := s.proxies[family].kernel.Do(t.Context(), ipvs.Create(list)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.node.Sysctl("ipv4/vs/conntrack", "1"); err != nil {
		t.Fatal(err)
	}
	ops := []device.Op{{Verb: device.CreateDevice}}
	for line := range strings.Lines(recorded(t, "addr")) {
		fields := strings.Fields(line)
		if fields[0] != device.Name {
			continue
		}
		for _, prefix := range fields[2:] {
			ops = append(ops, device.Op{Verb: device.Add, Addr: netip.MustParsePrefix(prefix).Addr()})
		}
	}
	if err := s.node.Do(func() error { return device.Netlink{}.Do(t.Context(), ops) }); err != nil {
		t.Fatal(err)
	}
}

// recorded is one of the files of kube-proxy's IPVS mode.
func recorded(t *testing.T, what string) string {
	t.Helper()
	text, err := os.ReadFile(dumps + "kube-proxy-ipvs." + what)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
