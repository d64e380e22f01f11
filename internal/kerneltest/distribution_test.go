package kerneltest

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// TestDistribution: over few endpoints and over many, which hang in a tree of
// chains, connections are spread evenly.
func TestDistribution(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		for i, endpoints := range []int{3, 200} {
			svc := service{
				name: "even", protocol: "UDP",
				ips: [2]string{fmt.Sprintf("10.96.32.%d", i+1), fmt.Sprintf("fd00:10:96::3%d", i+4)},
			}
			for n := range endpoints {
				svc.endpoints = append(svc.endpoints,
					netip.AddrFrom4([4]byte{10, 244, 1, byte(20 + n)}),
					netip.MustParseAddr(fmt.Sprintf("fd00:10:244:1::%x", 0x20+n)))
			}
			t.Run(fmt.Sprint(endpoints), func(t *testing.T) { mustSpread(t, variant, svc, endpoints) })
		}
	})
}

func mustSpread(t *testing.T, variant testenv.Variant, svc service, endpoints int) {
	pods := addrsOf("10.244.1.5", "fd00:10:244:1::5")
	where := places{pods[0]: podHere, pods[1]: podHere}
	for _, e := range svc.endpoints {
		where[e] = answersHere
	}
	s := newScene(t, variant, where, nil)
	s.serve(t, parseObjects(t, svc.String()))
	s.listen(t, "udp", svc.endpoints)
	for i, ip := range svc.ips {
		probes := make([]testenv.Probe, 3000)
		for n := range probes {
			probes[n] = testenv.Probe{From: s.hosts[pods[i]], Proto: "udp", To: netip.AddrPortFrom(netip.MustParseAddr(ip), 80)}
		}
		answers := map[netip.AddrPort]int{}
		for _, result := range testenv.DialAll(t.Context(), probes) {
			if result.Err != nil {
				t.Fatal(result.Err)
			}
			answers[result.Local]++
		}
		expected := float64(len(probes)) / float64(endpoints)
		sum := float64(endpoints-len(answers)) * expected // those without an answer
		for _, n := range answers {
			sum += (float64(n) - expected) * (float64(n) - expected) / expected
		}
		if limit := chiSquareLimit(endpoints - 1); sum > limit {
			t.Errorf("%s: χ² is %.1f, want at most %.1f; answers: %v", ip, sum, limit, answers)
		}
	}
}

// chiSquareLimit is passed by chance once in 10⁹ tests: six standard deviations
// in the approximation of Wilson and Hilferty (1931).
func chiSquareLimit(freedom int) float64 {
	k := float64(freedom)
	return k * math.Pow(1-2/(9*k)+6*math.Sqrt(2/(9*k)), 3)
}
