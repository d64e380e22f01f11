package tracer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/iptables"
)

// linearRules is a ruleset of 10,000 Services in one chain each: 50,000 rules.
func linearRules(b *testing.B) iptables.Ruleset {
	const services = 10000
	var chains, rules strings.Builder
	for i := range services {
		vip := fmt.Sprintf("10.96.%d.%d", i/250, i%250)
		fmt.Fprintf(&chains, ":KUBE-SVC-%05d - [0:0]\n", i)
		fmt.Fprintf(&rules, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"shop/web-%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%05d\n", vip, i, i)
		fmt.Fprintf(&rules, "-A KUBE-SVC-%05d ! -s 10.244.0.0/16 -d %s/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n", i, vip)
		fmt.Fprintf(&rules, "-A KUBE-SVC-%05d -p tcp -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.244.1.1:8080\n", i)
		fmt.Fprintf(&rules, "-A KUBE-SVC-%05d -p tcp -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.244.1.2:8080\n", i)
		fmt.Fprintf(&rules, "-A KUBE-SVC-%05d -p tcp -j DNAT --to-destination 10.244.1.3:8080\n", i)
	}
	rs, err := iptables.ParseSave("*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n" + chains.String() +
		"-A PREROUTING -j KUBE-SERVICES\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n" + rules.String() + "COMMIT\n")
	if err != nil {
		b.Fatal(err)
	}
	return rs
}

func BenchmarkNew(b *testing.B) {
	rs := linearRules(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(rs, testHost); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrace walks all 10,000 rules of KUBE-SERVICES.
func BenchmarkTrace(b *testing.B) {
	tr, err := New(linearRules(b), testHost)
	if err != nil {
		b.Fatal(err)
	}
	p := packet(b, "veth0>10.244.1.5 10.96.39.249:80/tcp")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.Trace(p); err != nil {
			b.Fatal(err)
		}
	}
}
