package device

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// kernels are the real one, and one with a bridge in place of the dummy device,
// which not every kernel has.
var kernels = map[string]struct {
	kernel Netlink
	needs  []testenv.Capability
}{
	"dummy":  {Netlink{}, []testenv.Capability{testenv.Root, testenv.Dummy}},
	"bridge": {Netlink{standIn: "bridge"}, []testenv.Capability{testenv.Root}},
}

// onEach calls f with each kernel in a namespace with one more device, eth0.
func onEach(t *testing.T, f func(t *testing.T, k Netlink)) {
	for name, test := range kernels {
		t.Run(name, func(t *testing.T) {
			testenv.Need(t, test.needs...)
			err := testenv.InNamespace(func() error {
				ip(t, "link", "add", "eth0", "type", "bridge")
				ip(t, "link", "set", "lo", "up")
				ip(t, "address", "add", "172.18.0.11/16", "dev", "eth0")
				ip(t, "address", "add", "fd00:172:18::11/64", "dev", "eth0", "nodad")
				f(t, test.kernel)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// ip runs ip(8) in the thread's namespace.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func addresses(texts ...string) []Address {
	var out []Address
	for _, s := range texts {
		out = append(out, Address{Addr: netip.MustParseAddr(s)})
	}
	return out
}

// reconcile makes a pass and checks that the next has nothing to do.
func reconcile(t *testing.T, k Kernel, family proxier.Family, want ...string) {
	t.Helper()
	d := New(NewCached(k), family, func(context.Context, *proxier.State) ([]Address, error) { return addresses(want...), nil })
	plan, err := d.Plan(t.Context(), &proxier.State{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Forget()
	if again, err := d.Plan(t.Context(), &proxier.State{}); err != nil || !again.Empty() {
		t.Fatalf("the next plan is not empty: %v, %v", again, err)
	}
}

func TestAddressesOnARealDevice(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		reconcile(t, k, proxier.IPv4, "10.96.0.1", "10.96.0.10", "172.18.0.11")
		reconcile(t, k, proxier.IPv6, "fd00:10:96::a", "fd00:172:18::11")
		host, err := k.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(host.Bound), "[10.96.0.1/32 10.96.0.10/32 fd00:10:96::a/128]"; got != want || host.Type != linkType {
			t.Errorf("bound are %s on a device of type %q, want %s", got, host.Type, want)
		}
		if got := fmt.Sprint(host.NodeAddresses(proxier.IPv4), host.NodeAddresses(proxier.IPv6)); got != "[172.18.0.11] [fd00:172:18::11]" {
			t.Errorf("the node's addresses are %s", got)
		}
		for _, addr := range []string{"10.96.0.1", "10.96.0.10", "fd00:10:96::a"} {
			awaitLocal(t, addr)
		}
		if shown := ip(t, "-6", "address", "show", "dev", Name); !strings.Contains(shown, "deprecated") || strings.Contains(shown, "tentative") {
			t.Errorf("the IPv6 address should be usable, and not for the node itself: %s", shown)
		}

		reconcile(t, k, proxier.IPv4, "10.96.0.10", "203.0.113.1")
		host, _ = k.List(t.Context())
		if got, want := fmt.Sprint(host.Bound), "[10.96.0.10/32 203.0.113.1/32 fd00:10:96::a/128]"; got != want {
			t.Errorf("bound are %s, want %s", got, want)
		}
		if got := host.NodeAddresses(proxier.IPv4); len(got) != 1 {
			t.Errorf("the node's addresses are %v", got)
		}
	})
}

func TestAddressesOfAnotherPrefixGo(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		reconcile(t, k, proxier.IPv4, "10.96.0.1")
		reconcile(t, k, proxier.IPv6, "fd00:10:96::a")
		for _, stranger := range []string{"10.9.9.9/24", "10.9.9.9/32", "10.8.8.8/0", "fd00:9::9/64"} {
			ip(t, "address", "add", stranger, "dev", Name)
		}
		reconcile(t, k, proxier.IPv4, "10.96.0.1")
		reconcile(t, k, proxier.IPv6, "fd00:10:96::a")
		host, err := k.List(t.Context())
		if got, want := fmt.Sprint(host.Bound), "[10.96.0.1/32 fd00:10:96::a/128]"; err != nil || got != want {
			t.Errorf("bound are %s, %v, want %s", got, err, want)
		}
	})
}

// awaitLocal waits until the kernel takes an address for the host's own. That of
// an IPv6 address is done by a kernel thread after the address has been added
// (addrconf_dad_work), also where no duplicates are looked for.
func awaitLocal(t *testing.T, addr string) {
	t.Helper()
	tick, timeout := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for {
		route, err := exec.CommandContext(t.Context(), "ip", "route", "get", addr).CombinedOutput()
		if err == nil && strings.HasPrefix(string(route), "local ") {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%s is not local: %v: %s", addr, err, route)
		}
	}
}

func TestChangesThatAreDoneAlreadyAreNoErrors(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		v4, v6 := netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:10:96::a")
		ops := []Op{{Verb: CreateDevice}}
		for _, verb := range []Verb{Add, Delete} {
			for _, a := range []netip.Addr{v4, v4, v6, v6} {
				ops = append(ops, Op{Verb: verb, Addr: a})
			}
		}
		if err := k.Do(t.Context(), ops); err != nil {
			t.Error(err)
		}
	})
}

func TestRemoveFromARealDevice(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		reconcile(t, k, proxier.IPv4, "10.96.0.1")
		reconcile(t, k, proxier.IPv6, "fd00:10:96::a")
		for _, family := range proxier.Families {
			plan, err := NewRemoval(NewCached(k), family, func() Retirement { return Retirement{} }).Plan(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := plan.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		host, err := k.List(t.Context())
		if err != nil || host.Type != "" || len(host.NodeAddresses(proxier.IPv4)) != 1 {
			t.Errorf("left is %+v, %v", host, err)
		}
	})
}

// A retired address is local without being the node's: what the node opens to it
// comes from another.
func TestRetireOnARealDevice(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		ip(t, "link", "set", "eth0", "up")
		for _, test := range []struct {
			family       proxier.Family
			addr, source string
		}{{proxier.IPv4, "10.96.0.1", "172.18.0.11"}, {proxier.IPv6, "fd00:10:96::a", "fd00:172:18::11"}} {
			reconcile(t, k, test.family, test.addr)
			retirement := Retirement{Retire: true, Source: netip.MustParseAddr(test.source)}
			d := NewRemoval(NewCached(k), test.family, func() Retirement { return retirement })
			pass := func() {
				t.Helper()
				plan, err := d.Plan(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := plan.Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
				d.Forget()
			}
			pass()
			route := ip(t, "route", "get", test.addr)
			if !strings.HasPrefix(route, "local "+test.addr) || !strings.Contains(route, " src "+test.source+" ") {
				t.Errorf("the way to a retired address is %s, want a local one from %s", route, test.source)
			}
			host, err := k.List(t.Context())
			if err != nil || len(host.BoundOf(test.family)) > 0 || fmt.Sprint(host.RetiredOf(test.family)) != "["+test.addr+"]" {
				t.Errorf("retired: %+v, %v", host, err)
			}
			retirement.Release = true
			pass()
			if host, err = k.List(t.Context()); err != nil || len(host.Retired) > 0 || host.Type != "" {
				t.Errorf("released: %+v, %v", host, err)
			}
		}
	})
}

func TestRealDeviceOfAnotherTypeIsLeftAlone(t *testing.T) {
	testenv.Need(t, testenv.Root)
	err := testenv.InNamespace(func() error {
		ip(t, "link", "add", Name, "type", "bridge")
		d := New(NewCached(Netlink{}), proxier.IPv4, func(context.Context, *proxier.State) ([]Address, error) { return addresses("10.96.0.1"), nil })
		if _, err := d.Plan(t.Context(), &proxier.State{}); err == nil || !strings.Contains(err.Error(), `type "bridge"`) {
			t.Errorf("error %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWithoutPermission(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		reconcile(t, k, proxier.IPv4, "10.96.0.1")
		err := testenv.WithoutNetAdmin(func() error {
			if _, err := k.List(t.Context()); err != nil {
				t.Errorf("everybody may list, but: %v", err)
			}
			for _, verb := range []Verb{CreateDevice, Add, Delete, DeleteDevice, Retire} {
				o := Op{Verb: verb, Addr: netip.MustParseAddr("10.96.0.1")}
				err := k.Do(t.Context(), []Op{o})
				if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "the capability NET_ADMIN is needed") {
					t.Errorf("%s: error %v, want EPERM and the capability's name", o, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestManyAddresses(t *testing.T) {
	onEach(t, func(t *testing.T, k Netlink) {
		var want []string
		for i := range 2000 {
			want = append(want, netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}).String())
		}
		reconcile(t, k, proxier.IPv4, want...)
	})
}

func TestWatch(t *testing.T) {
	testenv.Need(t, testenv.Root)
	err := testenv.InNamespace(func() error {
		ip(t, "link", "add", "eth0", "type", "bridge")
		ip(t, "link", "add", Name, "type", "bridge")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes, err := Watch(ctx)
		if err != nil {
			return err
		}
		for _, change := range []struct {
			command string
			tells   <-chan struct{}
		}{
			{"address add 172.18.0.11/16 dev eth0", changes.Others},
			{"address delete 172.18.0.11/16 dev eth0", changes.Others},
			{"address add fd00::1/64 dev eth0", changes.Others},
			{"address add 10.96.0.1/32 dev " + Name, changes.Bound},
			{"address delete 10.96.0.1/32 dev " + Name, changes.Bound},
			{"address add fd00:10:96::1/128 dev " + Name, changes.Bound},
		} {
			ip(t, strings.Fields(change.command)...)
			select {
			case _, ok := <-change.tells:
				if !ok {
					t.Fatalf("%s: the watch has ended", change.command)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: not told within 10 s", change.command)
			}
		}
		cancel()
		deadline := time.After(10 * time.Second)
		for others, bound := changes.Others, changes.Bound; others != nil || bound != nil; {
			var ok bool
			select {
			case _, ok = <-others:
				if !ok {
					others = nil
				}
			case _, ok = <-bound:
				if !ok {
					bound = nil
				}
			case <-deadline:
				t.Fatal("the watch does not end")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestChangesToTheDeviceAreNotToldAsOthers(t *testing.T) {
	testenv.Need(t, testenv.Root)
	err := testenv.InNamespace(func() error {
		k := Netlink{standIn: "bridge"}
		if err := k.Do(t.Context(), []Op{{Verb: CreateDevice}}); err != nil {
			return err
		}
		changes, err := Watch(t.Context())
		if err != nil {
			return err
		}
		var ops []Op
		for i := range 50 {
			ops = append(ops, Op{Verb: Add, Addr: netip.AddrFrom4([4]byte{10, 96, 0, byte(i)})})
		}
		if err := k.Do(t.Context(), ops); err != nil {
			return err
		}
		ip(t, "link", "add", "eth0", "type", "bridge")
		ip(t, "address", "add", "172.18.0.11/16", "dev", "eth0") // the only one to be told
		told := 0
		deadline := time.After(10 * time.Second)
		for {
			select {
			case <-changes.Others:
				told++
				host, err := k.List(t.Context())
				if err != nil {
					return err
				}
				if !slices.Contains(host.NodeAddresses(proxier.IPv4), netip.MustParseAddr("172.18.0.11")) {
					t.Error("told of a change of our own")
					continue
				}
				if told != 1 {
					t.Errorf("told %d times, want once", told)
				}
				return nil
			case <-deadline:
				t.Fatal("not told within 10 s")
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
