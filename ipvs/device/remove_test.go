package device_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/ipvs/device"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestRetirement(t *testing.T) {
	const (
		retire1 = "ip route append local 10.96.0.1/32 dev lo table local proto 107 src 172.18.0.11\n"
		retire2 = "ip route append local 10.96.0.2/32 dev lo table local proto 107 src 172.18.0.11\n"
		delete1 = "ip address delete 10.96.0.1/32 dev kube-ipvs0\n"
		delete2 = "ip address delete 10.96.0.2/32 dev kube-ipvs0\n"
		device0 = "ip link delete kube-ipvs0\n"
		free1   = "ip route delete local 10.96.0.1/32 dev lo table local proto 107\n"
		free2   = "ip route delete local 10.96.0.2/32 dev lo table local proto 107\n"
	)
	tests := []struct {
		name           string
		typ            string
		bound, retired []string
		r              device.Retirement
		want           string
	}{
		{"at once", "dummy", []string{"10.96.0.1", "10.96.0.2"}, nil, device.Retirement{}, device0},
		{"at once, with routes", "dummy", []string{"10.96.0.1"}, []string{"10.96.0.2"}, device.Retirement{}, device0 + free2},
		{"for routes first", "dummy", []string{"10.96.0.1", "10.96.0.2"}, nil, device.Retirement{Retire: true}, retire1 + retire2 + device0},
		{
			"while connections last", "dummy",
			[]string{"10.96.0.1", "10.96.0.2"},
			nil,
			device.Retirement{Retire: true, Keep: addrs("172.18.0.11")},
			retire1 + retire2 + delete1 + delete2,
		},
		{"half way", "dummy", []string{"10.96.0.1", "10.96.0.2"}, []string{"10.96.0.1"}, device.Retirement{Retire: true}, retire2 + device0},
		{"with another family's on the device", "dummy", []string{"10.96.0.1", "fd00::1"}, nil, device.Retirement{Retire: true}, retire1 + delete1},
		{"too soon to release", "", nil, []string{"10.96.0.1", "fd00::1"}, device.Retirement{Retire: true}, ""},
		{"released", "", nil, []string{"10.96.0.1", "10.96.0.2", "fd00::1"}, device.Retirement{Retire: true, Release: true}, free1 + free2},
		{
			"released but for one with connections", "dummy", nil,
			[]string{"10.96.0.1", "10.96.0.2"},
			device.Retirement{Retire: true, Release: true, Keep: addrs("10.96.0.2")},
			free1,
		},
		{"a device that is not ours", "bridge", []string{"10.96.0.1"}, nil, device.Retirement{Retire: true}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			host := device.NewHost(test.typ, addrs(test.bound...), eth0).WithRetired(addrs(test.retired...))
			test.r.Source = netip.MustParseAddr("172.18.0.11")
			p := device.Remove(proxier.IPv4, host, test.r)
			if diff := cmp.Diff(test.want, device.Script(p.Ops)); diff != "" {
				t.Errorf("- want, + have:\n%s", diff)
			}
			again := device.Remove(proxier.IPv4, host.After(p.Ops), test.r)
			if test.r.Retire && !test.r.Release && len(again.Ops) > 0 {
				t.Errorf("the next time it is\n%s", device.Script(again.Ops))
			}
		})
	}
}

// Back in IPVS mode the device has the addresses again, and no route is left.
func TestRetiredAddressesComeBack(t *testing.T) {
	host := device.NewHost("", nil, eth0).WithRetired(addrs("10.96.0.1", "10.96.0.2", "fd00:10:96::1"))
	p, err := device.Diff(proxier.IPv4, host, wanted("10.96.0.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "ip link add kube-ipvs0 type dummy\nip address add 10.96.0.1/32 dev kube-ipvs0\n" +
		"ip route delete local 10.96.0.1/32 dev lo table local proto 107\nip route delete local 10.96.0.2/32 dev lo table local proto 107\n"
	if diff := cmp.Diff(want, device.Script(p.Ops)); diff != "" {
		t.Errorf("- want, + have:\n%s", diff)
	}
}
