package testenv_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func TestEveryHostReachesEveryOther(t *testing.T) {
	c := testenv.StartCluster(t)
	hosts := []*testenv.Host{c.Client(), c.Node("node1").Host, c.Node("node2").Host}
	for _, node := range []string{"node1", "node2"} {
		for i := range 2 {
			pod, err := c.Node(node).AddPod(fmt.Sprintf("pod-%s-%d", node, i))
			if err != nil {
				t.Fatal(err)
			}
			hosts = append(hosts, pod)
		}
	}
	for _, server := range hosts {
		for _, addr := range server.Addrs() {
			for _, proto := range []string{"tcp", "udp"} {
				serve(t, server, proto, netip.AddrPortFrom(addr, 80))
			}
		}
	}
	var probes []testenv.Probe
	var want []testenv.Reply
	for _, from := range hosts {
		for _, to := range hosts {
			for _, addr := range to.Addrs() {
				for _, proto := range []string{"tcp", "udp"} {
					at := netip.AddrPortFrom(addr, 80)
					probes = append(probes, testenv.Probe{From: from, Proto: proto, To: at})
					want = append(want, testenv.Reply{Server: to.Name, Local: at, Peer: sourceOf(from, to, addr)})
				}
			}
		}
	}
	for i, result := range testenv.DialAll(t.Context(), probes) {
		have := result.Reply
		have.Peer = netip.AddrPortFrom(have.Peer.Addr(), 0) // the port is the kernel's choice
		if result.Err != nil || have != want[i] {
			t.Errorf("%s -> %s: have %+v, %v; want %+v", probes[i].From.Name, probes[i].To, have, result.Err, want[i])
		}
	}
}

// sourceOf is the address that from's packets to an address of to come from.
func sourceOf(from, to *testenv.Host, addr netip.Addr) netip.AddrPort {
	switch {
	case from == to:
		return netip.AddrPortFrom(addr, 0)
	case addr.Is4():
		return netip.AddrPortFrom(from.Addr4(), 0)
	}
	return netip.AddrPortFrom(from.Addr6(), 0)
}

func TestSourceAddressAndPortCanBeChosen(t *testing.T) {
	c := testenv.StartCluster(t)
	pod, err := c.Node("node2").AddPod("pod")
	if err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"tcp", "udp"} {
		for addr, source := range map[netip.Addr]netip.Addr{
			pod.Addr4(): testenv.ClientFar4(),
			pod.Addr6(): testenv.ClientFar6(),
		} {
			at := netip.AddrPortFrom(addr, 80)
			serve(t, pod, proto, at)
			want := netip.AddrPortFrom(source, 4321)
			// Twice: the first flow must not leave the port occupied.
			for range 2 {
				reply, err := c.Client().Dial(t.Context(), proto, at, testenv.DialOptions{Source: want})
				if err != nil || reply.Peer != want {
					t.Errorf("%s %s from %s: have %+v, %v", proto, at, want, reply, err)
				}
			}
		}
	}
}

func TestVIPWithoutRulesTimesOutFromEverywhere(t *testing.T) {
	c := testenv.StartCluster(t)
	pod, err := c.Node("node1").AddPod("pod")
	if err != nil {
		t.Fatal(err)
	}
	var probes []testenv.Probe
	for _, from := range []*testenv.Host{c.Client(), c.Node("node1").Host, c.Node("node2").Host, pod} {
		for _, vip := range []string{"10.96.0.1:80", "[fd00:10:96::1]:80"} {
			for _, proto := range []string{"tcp", "udp"} {
				probes = append(probes, testenv.Probe{From: from, Proto: proto, To: netip.MustParseAddrPort(vip)})
			}
		}
	}
	for i, result := range testenv.DialAll(t.Context(), probes) {
		if have := result.Outcome(); have != "timed out" {
			t.Errorf("%s -> %s %s: have %s, want timed out", probes[i].From.Name, probes[i].Proto, probes[i].To, have)
		}
	}
}

func TestVIPIsRoutedToTheChosenNode(t *testing.T) {
	c := testenv.StartCluster(t)
	for _, name := range []string{"node1", "node2", "node1"} {
		node := c.Node(name)
		if err := c.RouteVIPs(node); err != nil {
			t.Fatal(err)
		}
		for _, vip := range []string{"203.0.113.9", "2001:db8:113::9"} {
			addr := netip.MustParseAddr(vip)
			if err := node.AddAddress(addr); err != nil {
				t.Fatal(err)
			}
			server := serve(t, node.Host, "tcp", netip.AddrPortFrom(addr, 80))
			have := testenv.Outcome(c.Client().Dial(t.Context(), "tcp", server.Addr(), testenv.DialOptions{}))
			if have != name {
				t.Errorf("VIPs routed to %s, dial %s: have %s", name, vip, have)
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if err := node.RemoveAddress(addr); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	testenv.Need(t, testenv.Root)
	var clusters []*testenv.Cluster
	for range 2 { // both at once: their names must differ
		c, err := testenv.NewCluster()
		if err != nil {
			t.Fatal(err)
		}
		clusters = append(clusters, c)
	}
	for _, c := range clusters {
		path := c.Client().NetNS()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("before Close: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(strings.TrimSuffix(path, "client") + "*")
		if err != nil || len(left) != 0 {
			t.Errorf("after Close: %v left, %v", left, err)
		}
	}
}

func TestNewClusterSweepsWhatDeadProcessesLeft(t *testing.T) {
	testenv.Need(t, testenv.Root)
	testenv.StartCluster(t) // makes /run/netns, where it is missing
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	dead := fmt.Sprintf("kpx-%d-1-node1", gone.Process.Pid)
	living := fmt.Sprintf("kpx-%d-0-node1", os.Getppid())
	for _, name := range []string{dead, living} {
		path := "/run/netns/" + name
		if err := os.WriteFile(path, nil, 0o444); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(path) })
	}
	testenv.StartCluster(t)
	if _, err := os.Stat("/run/netns/" + dead); err == nil {
		t.Errorf("%s is still there, its process is not", dead)
	}
	if _, err := os.Stat("/run/netns/" + living); err != nil {
		t.Errorf("of a living process: %v", err)
	}
}

func TestCommandRunsInTheNamespace(t *testing.T) {
	c := testenv.StartCluster(t)
	for _, host := range []*testenv.Host{c.Client(), c.Node("node1").Host} {
		want, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		have, err := host.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimSpace(string(have)) == want {
			t.Errorf("%s: the command ran in this process's namespace", host.Name)
		}
		var inside []byte
		if err := host.Do(func() (err error) {
			inside, err = exec.Command("readlink", "/proc/self/ns/net").Output()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if string(inside) != string(have) {
			t.Errorf("%s: Do runs in %s, Command in %s", host.Name, inside, have)
		}
	}
}

// serve starts a server that ends with the test.
func serve(t *testing.T, host *testenv.Host, proto string, at netip.AddrPort) *testenv.Server {
	t.Helper()
	server, err := host.Serve(proto, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

func BenchmarkDial(b *testing.B) {
	c := testenv.StartCluster(b)
	pod, err := c.Node("node2").AddPod("pod")
	if err != nil {
		b.Fatal(err)
	}
	for _, proto := range []string{"tcp", "udp"} {
		server, err := pod.Serve(proto, netip.AddrPortFrom(pod.Addr4(), 80))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(proto, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.Client().Dial(context.Background(), proto, server.Addr(), testenv.DialOptions{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCluster(b *testing.B) {
	testenv.Need(b, testenv.Root)
	for b.Loop() {
		c, err := testenv.NewCluster()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
