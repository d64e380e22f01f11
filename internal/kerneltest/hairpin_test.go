package kerneltest

import (
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// hairpinTraffic: a pod may meet itself behind a Service, and only then is its
// source rewritten. Otherwise its answer would never leave it.
const hairpinTraffic = `
pod 10.244.1.21        10.96.30.1:80/tcp        10.244.1.21:8080=masq 10.244.1.22:8080
pod 10.244.1.22        10.96.30.1:80/tcp        10.244.1.21:8080 10.244.1.22:8080=masq
pod 10.244.1.5         10.96.30.1:80/tcp        10.244.1.21:8080 10.244.1.22:8080
pod 10.244.1.31        10.96.30.2:80/udp        10.244.1.31:8080 masq
pod fd00:10:244:1::21  [fd00:10:96::31]:80/tcp  [fd00:10:244:1::21]:8080=masq [fd00:10:244:1::22]:8080
pod fd00:10:244:1::22  [fd00:10:96::31]:80/tcp  [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080=masq
pod fd00:10:244:1::5   [fd00:10:96::31]:80/tcp  [fd00:10:244:1::21]:8080 [fd00:10:244:1::22]:8080
pod fd00:10:244:1::31  [fd00:10:96::32]:80/udp  [fd00:10:244:1::31]:8080 masq
`

// TestHairpin: with the one rule for all endpoints, and with the rules for
// kernels that lack xt_bpf.
func TestHairpin(t *testing.T) {
	both := service{
		name: "both", protocol: "TCP", ips: [2]string{"10.96.30.1", "fd00:10:96::31"},
		endpoints: addrsOf("10.244.1.21", "10.244.1.22", "fd00:10:244:1::21", "fd00:10:244:1::22"),
	}
	alone := service{
		name: "alone", protocol: "UDP", ips: [2]string{"10.96.30.2", "fd00:10:96::32"},
		endpoints: addrsOf("10.244.1.31", "fd00:10:244:1::31"),
	}
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := castOf(t, parseObjects(t, both.String()+alone.String()), hairpinTraffic)
		s := newStage(t, c.places, c.targets())
		kernels := newKernels(t, s.node1.Host, variant)
		for name, withoutBPF := range map[string]bool{"one rule": false, "a rule for each endpoint": true} {
			t.Run(name, func(t *testing.T) {
				for _, k := range kernels {
					k.withoutBPF = withoutBPF
				}
				p := play{stage: s, cast: c}
				p.prepare(t, kernels)
				p.run(t)
			})
		}
	})
}
