package device_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/ipvs/device/devicetest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// wanted are addresses of one Service, web.
func wanted(texts ...string) []device.Address {
	var out []device.Address
	for _, a := range addrs(texts...) {
		f := &proxier.Frontend{Kind: proxier.ExternalIP, Addr: a, Target: &proxier.Target{ServicePort: &proxier.ServicePort{}}}
		f.Target.Name.NamespacedName = types.NamespacedName{Namespace: "shop", Name: "web"}
		out = append(out, device.Address{Addr: a, Frontends: []*proxier.Frontend{f, f}})
	}
	return out
}

var eth0 = []device.Addr{
	{Addr: netip.MustParseAddr("127.0.0.1"), Device: "lo"},
	{Addr: netip.MustParseAddr("169.254.20.10"), Device: "eth0"},
	{Addr: netip.MustParseAddr("172.18.0.11"), Device: "eth0"},
	{Addr: netip.MustParseAddr("172.18.0.11"), Device: "eth1"},
	{Addr: netip.MustParseAddr("fd00:172:18::11"), Device: "eth0"},
	{Addr: netip.MustParseAddr("fe80::1"), Device: "eth0"},
}

func TestDiff(t *testing.T) {
	tests := []struct {
		name     string
		typ      string
		bound    []netip.Addr
		want     []device.Address
		node     []netip.Addr
		script   string
		problems []string
	}{
		{name: "nothing wanted, nothing there"},
		{
			name: "no device", want: wanted("10.96.0.1", "10.96.0.10"),
			script: "ip link add kube-ipvs0 type dummy\nip address add 10.96.0.1/32 dev kube-ipvs0\nip address add 10.96.0.10/32 dev kube-ipvs0\n",
		},
		{name: "all there", typ: "dummy", bound: addrs("10.96.0.1", "fd00:10:96::1"), want: wanted("10.96.0.1")},
		{
			name: "new before old", typ: "dummy", bound: addrs("10.96.0.1", "10.96.0.2"), want: wanted("10.96.0.2", "10.96.0.3"),
			script: "ip address add 10.96.0.3/32 dev kube-ipvs0\nip address delete 10.96.0.1/32 dev kube-ipvs0\n",
		},
		{
			name: "the node's own, on a device", typ: "dummy", want: wanted("172.18.0.11"),
			problems: []string{`Service shop/web: spec.externalIPs "172.18.0.11": is an address of this node, on device eth0: it is not bound to kube-ipvs0; the ports of the Service are served there, all others remain the node's`},
		},
		{
			name: "the node's own, by its object", typ: "dummy", want: wanted("192.0.2.1"), node: addrs("192.0.2.1"),
			problems: []string{`Service shop/web: spec.externalIPs "192.0.2.1": is an address of this node, by its Node object: it is not bound to kube-ipvs0; the ports of the Service are served there, all others remain the node's`},
		},
		{
			name: "bound before it became the node's", typ: "dummy", bound: addrs("172.18.0.11"), want: wanted("172.18.0.11"),
			script:   "ip address delete 172.18.0.11/32 dev kube-ipvs0\n",
			problems: []string{`Service shop/web: spec.externalIPs "172.18.0.11": is an address of this node, on device eth0: it is not bound to kube-ipvs0; the ports of the Service are served there, all others remain the node's`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := device.Diff(proxier.IPv4, device.NewHost(test.typ, test.bound, eth0), test.want, test.node)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.script, device.Script(p.Ops)); d != "" {
				t.Errorf("script wanted (-), got (+):\n%s", d)
			}
			var problems []string
			for _, problem := range p.Problems {
				problems = append(problems, problem.String())
			}
			if d := cmp.Diff(test.problems, problems); d != "" {
				t.Errorf("problems wanted (-), got (+):\n%s", d)
			}
		})
	}
}

func TestDeviceOfAnotherTypeIsRefused(t *testing.T) {
	host := device.NewHost("bridge", addrs("10.96.0.1"), nil)
	_, err := device.Diff(proxier.IPv4, host, wanted("10.96.0.1"), nil)
	if err == nil || !strings.Contains(err.Error(), `kube-ipvs0 has type "bridge"`) || !strings.Contains(err.Error(), "ip link delete kube-ipvs0") {
		t.Errorf("error %v", err)
	}
	if p := device.Remove(proxier.IPv4, host, device.Retirement{}); len(p.Ops) > 0 {
		t.Errorf("it is to be changed: %s", device.Script(p.Ops))
	}
}

func TestRemove(t *testing.T) {
	both := device.NewHost("dummy", addrs("10.96.0.1", "fd00:10:96::1"), eth0)
	p := device.Remove(proxier.IPv4, both, device.Retirement{})
	if want := "ip address delete 10.96.0.1/32 dev kube-ipvs0\n"; device.Script(p.Ops) != want {
		t.Errorf("script %q, want %q", device.Script(p.Ops), want)
	}
	after := both.After(p.Ops)
	if p = device.Remove(proxier.IPv6, after, device.Retirement{}); device.Script(p.Ops) != "ip link delete kube-ipvs0\n" {
		t.Errorf("script %q: the device should go with its last address", device.Script(p.Ops))
	}
	if p = device.Remove(proxier.IPv6, after.After(p.Ops), device.Retirement{}); len(p.Ops) > 0 {
		t.Errorf("script %q when nothing is there", device.Script(p.Ops))
	}
}

func TestNodeAddresses(t *testing.T) {
	h := device.NewHost("dummy", addrs("10.96.0.1", "::ffff:10.96.0.1", "fe80::2"), append(eth0[:len(eth0):len(eth0)],
		device.Addr{Addr: netip.MustParseAddr("::ffff:192.0.2.7"), Device: "tun0"}))
	if got := h.NodeAddresses(proxier.IPv4); !slices.Equal(got, addrs("172.18.0.11", "192.0.2.7")) {
		t.Errorf("IPv4: %v", got)
	}
	if got := h.NodeAddresses(proxier.IPv6); !slices.Equal(got, addrs("fd00:172:18::11")) {
		t.Errorf("IPv6: %v", got)
	}
	if got := h.BoundOf(proxier.IPv4); !slices.Equal(got, addrs("10.96.0.1")) || len(h.Bound) != 1 {
		t.Errorf("bound: %v", h.Bound)
	}
}

// What programs listen on: not the addresses of Services, but those of loopback.
func TestOwnAddresses(t *testing.T) {
	on := func(addr, name string) device.Addr { return device.Addr{Addr: netip.MustParseAddr(addr), Device: name} }
	h := device.NewHost("dummy", addrs("10.96.0.1", "fd00:10:96::a", "fe80::1"), []device.Addr{
		on("fe80::2", "eth1"), on("fe80::2", "eth0"), on("192.0.2.7", "eth1"), on("::ffff:192.0.2.7", "eth0"),
		on("169.254.20.10", "dns0"), on("127.0.0.1", "lo"), on("::1", "lo"), on("fd00:172:18::11", "eth0"),
	})
	want := addrs("127.0.0.1", "169.254.20.10", "192.0.2.7", "::1", "fd00:172:18::11", "fe80::2%eth0", "fe80::2%eth1")
	if got := h.OwnAddresses(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What somebody else has put on the device goes with the prefix that it has there, or
// the kernel would not find it. One that is wanted stays as it is.
func TestAddressesOfAnotherPrefix(t *testing.T) {
	var bound []netip.Prefix
	for _, p := range []string{"10.9.9.9/32", "10.96.0.2/16", "10.9.9.9/24", "fd00:9::9/64"} {
		bound = append(bound, netip.MustParsePrefix(p))
	}
	host := device.NewHost("dummy", nil, eth0).WithBound(bound)
	kernel := devicetest.New(host)
	cached := device.NewCached(kernel)
	want := func(context.Context, *proxier.State) ([]device.Address, error) {
		return wanted("10.96.0.1", "10.96.0.2"), nil
	}
	p, err := device.New(cached, proxier.IPv4, want).Plan(t.Context(), state())
	if err != nil {
		t.Fatal(err)
	}
	const script = "ip address add 10.96.0.1/32 dev kube-ipvs0\n" +
		"ip address delete 10.9.9.9/24 dev kube-ipvs0\nip address delete 10.9.9.9/32 dev kube-ipvs0\n"
	if d := cmp.Diff(script, p.String()); d != "" {
		t.Errorf("script wanted (-), got (+):\n%s", d)
	}
	const diff = "--- kernel addresses kube-ipvs0\n+++ wanted addresses kube-ipvs0\n@@ -1,2 +1,1 @@\n-10.9.9.9/24\n-10.9.9.9/32\n+10.96.0.1/32\n"
	if d := cmp.Diff(diff, p.Diff()); d != "" {
		t.Errorf("difference wanted (-), got (+):\n%s", d)
	}
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, _ := kernel.List(t.Context())
	if got := fmt.Sprint(after.Bound); got != "[10.96.0.1/32 10.96.0.2/16 fd00:9::9/64]" {
		t.Errorf("bound are %s", got)
	}
	r := device.Remove(proxier.IPv4, after, device.Retirement{})
	if d := cmp.Diff("ip address delete 10.96.0.1/32 dev kube-ipvs0\nip address delete 10.96.0.2/16 dev kube-ipvs0\n", device.Script(r.Ops)); d != "" {
		t.Errorf("removal wanted (-), got (+):\n%s", d)
	}
	r = device.Remove(proxier.IPv6, after.After(r.Ops), device.Retirement{Keep: addrs("172.18.0.11")})
	if d := cmp.Diff("ip address delete fd00:9::9/64 dev kube-ipvs0\n", device.Script(r.Ops)); d != "" {
		t.Errorf("removal wanted (-), got (+):\n%s", d)
	}
}

// state is a State whose Service addresses are not looked at.
func state() *proxier.State { return &proxier.State{} }

// TestAnyHistoryEndsInWhatIsWanted: whatever failed or was changed in between,
// passes of both families end in what is wanted, never touch what another device
// has, and then have nothing to do.
func TestAnyHistoryEndsInWhatIsWanted(t *testing.T) {
	pool := map[proxier.Family][]string{
		proxier.IPv4: {"10.96.0.1", "10.96.0.2", "10.96.0.3", "172.18.0.11", "203.0.113.1"},
		proxier.IPv6: {"fd00:10:96::1", "fd00:10:96::2", "fd00:172:18::11"},
	}
	some := func(r *rand.Rand, texts []string) (out []string) {
		for _, s := range texts {
			if r.IntN(2) == 0 {
				out = append(out, s)
			}
		}
		return out
	}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			kernel := devicetest.New(device.NewHost("", nil, eth0))
			failed := errors.New("out of memory")
			kernel.FailDo = func(int, device.Op) error {
				if r.IntN(8) == 0 {
					return failed
				}
				return nil
			}
			cached := device.NewCached(kernel)
			want := map[proxier.Family][]string{}
			var planes []proxier.Dataplane
			for _, family := range proxier.Families {
				planes = append(planes, device.New(cached, family, func(context.Context, *proxier.State) ([]device.Address, error) {
					return wanted(want[family]...), nil
				}))
			}
			for range 12 {
				for i, family := range proxier.Families {
					want[family] = some(r, pool[family])
					plan, err := planes[i].Plan(t.Context(), state())
					if err != nil {
						t.Fatal(err)
					}
					if _, err := plan.Apply(t.Context()); err != nil && !errors.Is(err, failed) {
						t.Fatalf("%v\n%s", err, plan)
					}
				}
				if r.IntN(6) == 0 { // somebody else's doing
					kernel.Set(device.NewHost("dummy", addrs(some(r, []string{"10.96.0.1", "192.0.2.99"})...), eth0))
					cached.Forget()
				}
			}
			kernel.FailDo = nil
			var all []string
			for i, family := range proxier.Families {
				settle(t, planes[i])
				all = append(all, slices.DeleteFunc(slices.Clone(want[family]), func(s string) bool {
					return s == "172.18.0.11" || s == "fd00:172:18::11"
				})...)
			}
			host, _ := kernel.List(t.Context())
			if !slices.Equal(slices.Concat(host.BoundOf(proxier.IPv4), host.BoundOf(proxier.IPv6)), addrs(all...)) {
				t.Errorf("bound are %v, want %v", host.Bound, all)
			}
		})
	}
}

func settle(t *testing.T, d proxier.Dataplane) {
	t.Helper()
	plan, err := d.Plan(t.Context(), state())
	if err != nil {
		t.Fatal(err)
	}
	if (plan.Diff() == "") != plan.Empty() || (plan.String() == "") != plan.Empty() {
		t.Errorf("empty %t, plan %q, diff %q", plan.Empty(), plan, plan.Diff())
	}
	if _, err := plan.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again, err := d.Plan(t.Context(), state())
		if err != nil {
			t.Fatal(err)
		}
		if !again.Empty() {
			t.Errorf("the next plan is not empty:\n%s", again)
		}
		d.Forget()
	}
}

func TestPlanDiff(t *testing.T) {
	kernel := device.NewCached(devicetest.New(device.NewHost("", nil, nil)))
	want := wanted("10.96.0.1")
	d := device.New(kernel, proxier.IPv4, func(context.Context, *proxier.State) ([]device.Address, error) { return want, nil })
	plan, err := d.Plan(t.Context(), state())
	if err != nil {
		t.Fatal(err)
	}
	const text = "--- kernel addresses kube-ipvs0\n+++ wanted addresses kube-ipvs0\n@@ -0,0 +1,2 @@\n+device kube-ipvs0 type dummy\n+10.96.0.1/32\n"
	if plan.Diff() != text {
		t.Errorf("diff %q, want %q", plan.Diff(), text)
	}
}

func TestUnchangedPassesAskTheKernelOnce(t *testing.T) {
	kernel := devicetest.New(device.NewHost("", nil, eth0))
	d := device.New(device.NewCached(kernel), proxier.IPv4, func(context.Context, *proxier.State) ([]device.Address, error) {
		return wanted("10.96.0.1"), nil
	})
	for range 3 {
		plan, err := d.Plan(t.Context(), state())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if kernel.Lists() != 1 || len(kernel.Ops()) != 2 {
		t.Errorf("%d lists and %d changes, want 1 and 2", kernel.Lists(), len(kernel.Ops()))
	}
}

func TestForgetDuringDoIsNotLost(t *testing.T) {
	kernel := devicetest.New(device.NewHost("dummy", nil, nil))
	cached := device.NewCached(kernel)
	if _, err := cached.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	kernel.FailDo = func(int, device.Op) error { cached.Forget(); return nil }
	if err := cached.Do(t.Context(), []device.Op{{Verb: device.Add, Addr: addrs("10.96.0.1")[0]}}); err != nil {
		t.Fatal(err)
	}
	kernel.Set(device.NewHost("dummy", nil, nil))
	if host, err := cached.List(t.Context()); err != nil || len(host.Bound) != 0 {
		t.Errorf("remembered %v, %v", host.Bound, err)
	}
}

// A halting kernel stops in the middle of its changes.
type halting struct {
	*devicetest.Kernel
	halfway func()
}

func (k halting) Do(ctx context.Context, ops []device.Op) error {
	err := k.Kernel.Do(ctx, ops[:1])
	k.halfway()
	return errors.Join(err, k.Kernel.Do(ctx, ops[1:]))
}

// The other family looks while one writes: what it sees is true for that moment only.
func TestAListDuringDoIsNotRemembered(t *testing.T) {
	kernel := halting{Kernel: devicetest.New(device.NewHost("dummy", nil, nil))}
	cached := device.NewCached(&kernel)
	both := addrs("10.96.0.1", "10.96.0.2")
	var seen int
	kernel.halfway = func() {
		host, err := cached.List(t.Context())
		if err != nil {
			t.Error(err)
		}
		seen = len(host.Bound)
	}
	if err := cached.Do(t.Context(), []device.Op{{Verb: device.Add, Addr: both[0]}, {Verb: device.Add, Addr: both[1]}}); err != nil {
		t.Fatal(err)
	}
	host, err := cached.List(t.Context())
	if err != nil || seen != 1 || !slices.Equal(host.BoundOf(proxier.IPv4), both) {
		t.Errorf("%d addresses halfway, then %v, %v; want 1, then %v", seen, host.Bound, err, both)
	}
}
