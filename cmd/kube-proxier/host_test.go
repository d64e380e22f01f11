package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func TestIPVSModeNeedsIPVS(t *testing.T) {
	_, err := newHost(t.Context(), &config.Config{Mode: config.ModeIPVS})
	if testenv.IPVS.Check() == nil {
		if err != nil && strings.Contains(err.Error(), "choose mode iptables") {
			t.Errorf("this kernel has IPVS, but: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("the host is good enough")
	}
	for _, want := range []string{"mode ipvs: ", "load the module ip_vs", "choose mode iptables"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestForeignServers(t *testing.T) {
	list, err := ipvs.Parse(`-A -t 10.96.0.1:443 -s rr
-a -t 10.96.0.1:443 -r 172.18.0.2:6443 -m -w 1
-A -t 172.18.0.11:30080 -s rr
-A -t 172.18.0.11:80 -s rr
-A -t 198.51.100.7:80 -s wlc
`)
	if err != nil {
		t.Fatal(err)
	}
	foreign := foreignServers(list, ipvs.Ownership{NodePorts: ipvs.DefaultNodePorts}, proxier.IPv4, ipvs.Addresses{
		Bound: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Node: []netip.Addr{netip.MustParseAddr("172.18.0.11")},
	})
	if diff := cmp.Diff("-A -t 172.18.0.11:80 -s rr\n-A -t 198.51.100.7:80 -s wlc\n", ipvs.Text(foreign)); diff != "" {
		t.Error(diff)
	}
}
