package ipvs_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// retired is what a mode without virtual servers finds: one at an address that
// was bound, with connections to one of its real servers; one without; one of
// UDP; and one of somebody else.
const retired = `-A -t 10.96.0.1:80 -s rr
-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.244.0.2:8080 -m -w 1
-A -u 10.96.0.1:53 -s rr
-a -u 10.96.0.1:53 -r 10.244.0.1:53 -m -w 1
-A -t 10.96.0.2:80 -s rr
-a -t 10.96.0.2:80 -r 10.244.0.2:8080 -m -w 1
-A -t 192.0.2.1:80 -s rr
`

func TestVirtualServersRetire(t *testing.T) {
	const foreign = "-A -t 192.0.2.1:80 -s rr\n"
	const datagrams = "-A -u 10.96.0.1:53 -s rr\n-a -u 10.96.0.1:53 -r 10.244.0.1:53 -m -w 1\n"
	const waiting = "-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 0\n"
	tests := []struct {
		name    string
		timeout time.Duration
		// then is what happens after the first pass, want what is left after the
		// next, and Left what the plan said of it.
		then func(*ipvstest.Kernel, *time.Time)
		want string
	}{
		{"a connection goes on", time.Hour, func(*ipvstest.Kernel, *time.Time) {}, waiting},
		{"the connection ends", time.Hour, func(k *ipvstest.Kernel, _ *time.Time) { k.Connect("-t 10.96.0.1:80", "10.244.0.1:8080", 0) }, ""},
		{"it does not end in time", time.Hour, func(_ *ipvstest.Kernel, now *time.Time) { *now = now.Add(time.Hour) }, ""},
		{"connections are not waited for", 0, func(*ipvstest.Kernel, *time.Time) {}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kernel := ipvstest.New(proxier.IPv4)
			list, err := ipvs.Parse(retired)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kernel.Do(t.Context(), ipvs.Create(list)); err != nil {
				t.Fatal(err)
			}
			kernel.Connect("-t 10.96.0.1:80", "10.244.0.1:8080", 1)
			kernel.Connect("-u 10.96.0.1:53", "10.244.0.1:53", 1)
			now := time.Now()
			d := ipvs.NewDataplane(kernel, ipvs.Config{
				Addresses: func(context.Context) (ipvs.Addresses, error) {
					return ipvs.Addresses{Bound: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("10.96.0.2")}}, nil
				},
				DrainTimeout: test.timeout, Retire: true, Now: func() time.Time { return now },
			})
			nothing := &proxier.State{Family: proxier.IPv4}
			apply(t, d, nothing)
			first := waiting + datagrams
			if test.timeout == 0 {
				first = ""
			}
			if diff := cmp.Diff(first+foreign, kernel.String()); diff != "" {
				t.Errorf("after the first pass (- want, + have):\n%s", diff)
			}
			test.then(kernel, &now)
			now = now.Add(ipvs.DefaultLook)
			d.Forget()
			p := plan(t, d, nothing)
			if diff := cmp.Diff(test.want, ipvs.Text(p.(ipvs.Plan).Left())); diff != "" {
				t.Errorf("the plan would leave (- want, + have):\n%s", diff)
			}
			if _, err := p.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want+foreign, kernel.String()); diff != "" {
				t.Errorf("in the end (- want, + have):\n%s", diff)
			}
		})
	}
}

// Who returns to IPVS mode while virtual servers retire has them back as they
// were.
func TestRetiringVirtualServersComeBack(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv4)
	state := build(clustergen.Uniform(2, 2), proxier.IPv4)
	apply(t, ipvs.NewDataplane(kernel, config()), state)
	before := kernel.String()
	kernel.Connect(vip, leaving, 1)
	bound := config()
	bound.Retire = true
	bound.Addresses = func(context.Context) (ipvs.Addresses, error) {
		return ipvs.Addresses{Bound: []netip.Addr{netip.MustParseAddr("10.96.0.0")}, Node: nodeAddresses}, nil
	}
	apply(t, ipvs.NewDataplane(kernel, bound), &proxier.State{Family: proxier.IPv4})
	if !strings.Contains(kernel.String(), draining) {
		t.Fatalf("nothing retires:\n%s", kernel)
	}
	apply(t, ipvs.NewDataplane(kernel, config()), state)
	if diff := cmp.Diff(before, kernel.String()); diff != "" {
		t.Errorf("back in IPVS mode (- before, + after):\n%s", diff)
	}
}
