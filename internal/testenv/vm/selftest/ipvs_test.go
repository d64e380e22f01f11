package selftest

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/moby/ipvs"
	"github.com/vishvananda/netlink"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

func TestVirtualServersHaveEveryScheduler(t *testing.T) {
	vm.Need(t)
	handle := openIPVS(t, testenv.StartCluster(t).Client())
	for i, scheduler := range vm.Schedulers() {
		server := virtualServer(netip.AddrPortFrom(netip.MustParseAddr("10.96.0.1"), uint16(1000+i)), scheduler)
		if err := handle.NewService(server); err != nil {
			t.Errorf("scheduler %s: %v", scheduler, err)
		}
	}
	servers, err := handle.GetServices()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, server := range servers {
		have = append(have, server.SchedName)
	}
	want := vm.Schedulers()
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("virtual servers have schedulers %v, want %v", have, want)
	}
}

func TestUnknownSchedulerIsRefused(t *testing.T) {
	vm.Need(t)
	handle := openIPVS(t, testenv.StartCluster(t).Client())
	err := handle.NewService(virtualServer(netip.MustParseAddrPort("10.96.0.1:80"), "nonesuch"))
	if err == nil {
		t.Error("a scheduler that does not exist was accepted")
	}
}

// The address is on a dummy device, so that the node takes packets to it for its
// own, and the virtual server leads them to a pod of the same node.
func TestVirtualServerOnDummyDeviceLeadsToPod(t *testing.T) {
	vm.Need(t)
	c := testenv.StartCluster(t)
	node := c.Node("node1")
	pod, err := node.AddPod("web")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RouteVIPs(node); err != nil {
		t.Fatal(err)
	}
	handle := openIPVS(t, node.Host)
	for _, way := range []struct {
		vip string
		pod netip.Addr
	}{
		{"10.96.0.10", pod.Addr4()},
		{"fd00:10:96::10", pod.Addr6()},
	} {
		vip := netip.AddrPortFrom(netip.MustParseAddr(way.vip), 80)
		addDummy(t, node.Host, "ipvs"+way.vip[:2], vip.Addr())
		for _, proto := range []string{"tcp", "udp"} {
			if _, err := pod.Serve(proto, netip.AddrPortFrom(way.pod, 8080)); err != nil {
				t.Fatal(err)
			}
			server := virtualServer(vip, "rr")
			if proto == "udp" {
				server.Protocol = syscall.IPPROTO_UDP
			}
			if err := handle.NewService(server); err != nil {
				t.Fatal(err)
			}
			if err := handle.NewDestination(server, realServer(way.pod, 8080)); err != nil {
				t.Fatal(err)
			}
			have := testenv.Outcome(c.Client().Dial(t.Context(), proto, vip, testenv.DialOptions{}))
			if have != "web" {
				t.Errorf("%s %s: have %s, want web", proto, vip, have)
			}
		}
	}
}

func openIPVS(t *testing.T, host *testenv.Host) *ipvs.Handle {
	t.Helper()
	handle, err := ipvs.New(host.NetNS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handle.Close)
	return handle
}

// virtualServer is a TCP server.
func virtualServer(at netip.AddrPort, scheduler string) *ipvs.Service {
	server := &ipvs.Service{
		Address: at.Addr().AsSlice(), Port: at.Port(), Protocol: syscall.IPPROTO_TCP,
		AddressFamily: syscall.AF_INET, Netmask: 0xffffffff, SchedName: scheduler,
	}
	if at.Addr().Is6() {
		server.AddressFamily, server.Netmask = syscall.AF_INET6, 128
	}
	return server
}

func realServer(addr netip.Addr, port uint16) *ipvs.Destination {
	family := uint16(syscall.AF_INET)
	if addr.Is6() {
		family = syscall.AF_INET6
	}
	return &ipvs.Destination{
		Address: addr.AsSlice(), Port: port, AddressFamily: family,
		Weight: 1, ConnectionFlags: ipvs.ConnectionFlagMasq,
	}
}

func addDummy(t *testing.T, host *testenv.Host, name string, addr netip.Addr) {
	t.Helper()
	err := host.Do(func() error {
		device := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name}}
		if err := netlink.LinkAdd(device); err != nil {
			return err
		}
		bits := addr.BitLen()
		return netlink.AddrAdd(device, &netlink.Addr{
			IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, bits)},
			Flags: syscall.IFA_F_NODAD,
		})
	})
	if err != nil {
		t.Fatalf("dummy device %s with %s: %v", name, addr, err)
	}
}
