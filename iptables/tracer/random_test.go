package tracer

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
)

func TestRandomChoice(t *testing.T) {
	const random = " -m statistic --mode random --probability "
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"three endpoints", []string{
			"nat PREROUTING -j S",
			"nat S -p tcp" + random + "0.33333333349 -j DNAT --to-destination 10.0.0.1:1",
			"nat S -p tcp" + random + "0.50000000000 -j DNAT --to-destination 10.0.0.2:2",
			"nat S -p tcp -j DNAT --to-destination 10.0.0.3:3",
		}, "accept, to 10.0.0.1:1, p=0.333\naccept, to 10.0.0.2:2, p=0.333\naccept, to 10.0.0.3:3, p=0.333"},
		{"the branch that misses goes on after the caller's rule", []string{
			"filter FORWARD -j A", "filter FORWARD -j REJECT",
			"filter A" + random + "0.25 -j DROP",
		}, "drop, p=0.25\nreject, p=0.75"},
		{"equal outcomes are one", []string{
			"filter FORWARD" + random + "0.25 -j DROP", "filter FORWARD -j DROP",
		}, "drop"},
		{"two choices in one rule", []string{
			"filter FORWARD" + random + "0.5" + random + "0.5 -j DROP",
		}, "accept, p=0.75\ndrop, p=0.25"},
		{"a mark set on one branch only", []string{
			"nat PREROUTING" + random + "0.25 -j MARK --set-xmark 0x1/0x1",
			"filter FORWARD -m mark --mark 0x1/0x1 -j DROP",
		}, "accept, p=0.75\ndrop, p=0.25"},
		{"negated", []string{"filter FORWARD -m statistic --mode random ! --probability 0.75 -j DROP"}, "accept, p=0.75\ndrop, p=0.25"},
		{"a choice before a test that fails is none", []string{"filter FORWARD" + random + "0.5 -m mark --mark 0x1 -j DROP"}, "accept"},
		{"a list is changed on the branch that hits", []string{
			"filter FORWARD" + random + "0.25 -m recent --set --name L --rsource -m mark --mark 0x1 -j DROP",
		}, "accept, p=0.75\naccept, recent L, p=0.25"},
		{"a list is changed before the choice", []string{
			"filter FORWARD -m recent --set --name L --rsource" + random + "0.25 -j DROP",
		}, "accept, recent L, p=0.75\ndrop, recent L, p=0.25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if have := outcomes(t, newTracer(t, testHost, tt.lines...), packet(t, podPacket)); have != tt.want {
				t.Errorf("want:\n%s\nhave:\n%s", tt.want, have)
			}
		})
	}
}

// TestProbabilityIsTheKernels: a third is not a third but n/2³¹.
func TestProbabilityIsTheKernels(t *testing.T) {
	tr := newTracer(t, testHost, "filter FORWARD -m statistic --mode random --probability 0.33333333349 -j DROP")
	res, err := tr.Trace(packet(t, podPacket))
	if err != nil {
		t.Fatal(err)
	}
	if want := 715827883.0 / (1 << 31); res.Outcomes[1].Probability != want {
		t.Errorf("want %.15f, have %.15f", want, res.Outcomes[1].Probability)
	}
}

// TestManyEndpoints: a Service of 5,000 endpoints in one chain is uniform, and
// tracing it costs one branch per endpoint.
func TestManyEndpoints(t *testing.T) {
	const n = 5000
	lines := []string{"nat PREROUTING -j S"}
	for i := range n {
		chance := ""
		if i < n-1 {
			chance = fmt.Sprintf(" -m statistic --mode random --probability %.11f", 1/float64(n-i))
		}
		lines = append(lines, fmt.Sprintf("nat S -p tcp%s -j DNAT --to-destination 10.1.%d.%d:80", chance, i/250, i%250))
	}
	res, err := newTracer(t, testHost, lines...).Trace(packet(t, podPacket))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Outcomes) != n {
		t.Fatalf("want %d outcomes, have %d", n, len(res.Outcomes))
	}
	sum := 0.0
	for _, o := range res.Outcomes {
		sum += o.Probability
		if math.Abs(o.Probability*n-1) > 1e-5 {
			t.Errorf("%s: p is %g, want about %g", o.DNAT, o.Probability, 1.0/n)
		}
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("probabilities add up to %.12f", sum)
	}
	if last := res.Outcomes[n-1]; last.RulesWalked != n+1 {
		t.Errorf("rules walked to the last endpoint: want %d, have %d", n+1, last.RulesWalked)
	}
}

// TestBranchesShareNothing: lists changed on one branch are not on another.
func TestBranchesShareNothing(t *testing.T) {
	const half = " -m statistic --mode random --probability 0.5"
	tr := newTracer(t, testHost,
		"filter FORWARD -m recent --set --name A --rsource",
		"filter FORWARD -m recent --set --name B --rsource",
		"filter FORWARD -m recent --set --name C --rsource",
		"filter FORWARD"+half+" -m recent --set --name D --rsource -j ACCEPT",
		"filter FORWARD -m recent --set --name E --rsource",
	)
	want := "accept, recent A B C D, p=0.5\naccept, recent A B C E, p=0.5"
	if have := outcomes(t, tr, packet(t, podPacket)); have != want {
		t.Errorf("want:\n%s\nhave:\n%s", want, have)
	}
}

// TestLongestWay: the longest way to an outcome counts, whichever is followed
// first.
func TestLongestWay(t *testing.T) {
	tr := newTracer(t, testHost,
		"filter FORWARD -m statistic --mode random --probability 0.5 -j LONG", "filter FORWARD -j DROP",
		"filter LONG -p tcp", "filter LONG -p tcp", "filter LONG -j DROP")
	res, err := tr.Trace(packet(t, podPacket))
	if err != nil {
		t.Fatal(err)
	}
	if n := res.Outcomes[0].RulesWalked; n != 4 {
		t.Errorf("want 4 rules, have %d", n)
	}
}

// TestMergedOutcome: of several ways to one outcome, the longest counts and
// the most probable is shown.
func TestMergedOutcome(t *testing.T) {
	for chance, last := range map[string]string{"0.25": "FORWARD", "0.75": "SHORT"} {
		tr := newTracer(t, testHost,
			"filter FORWARD -m statistic --mode random --probability "+chance+" -j SHORT",
			"filter FORWARD -p tcp",
			"filter FORWARD -j DROP",
			"filter SHORT -j DROP")
		paths, err := tr.Paths(packet(t, podPacket))
		if err != nil {
			t.Fatal(err)
		}
		if len(paths) != 1 || paths[0].Outcome.RulesWalked != 3 {
			t.Fatalf("p=%s: want one outcome after 3 rules, have %v", chance, paths)
		}
		if have := paths[0].Steps[len(paths[0].Steps)-1].Chain; have != last {
			t.Errorf("p=%s: want the way that ends in %s, have %s", chance, last, have)
		}
	}
}

func TestRecent(t *testing.T) {
	client := netip.MustParseAddr("10.244.1.5")
	held := map[string][]netip.Addr{"L": {client}}
	tests := []struct {
		name   string
		recent map[string][]netip.Addr
		rules  []string
		want   string
	}{
		{"rcheck of an empty list", nil, []string{"--rcheck --seconds 600 --reap --name L --mask 255.255.255.255 --rsource -j DROP"}, "accept"},
		{"rcheck", held, []string{"--rcheck --seconds 600 --reap --name L --mask 255.255.255.255 --rsource -j DROP"}, "drop"},
		{"rcheck negated", held, []string{"! --rcheck --name L --rsource -j DROP"}, "accept"},
		{"rcheck of another list", held, []string{"--rcheck --name M --rsource -j DROP"}, "accept"},
		{"update renews", held, []string{"--update --seconds 600 --name L --rsource -j DROP"}, "drop, recent L"},
		{"update of an empty list", nil, []string{"--update --seconds 600 --name L --rsource -j DROP"}, "accept"},
		{"set, then rcheck", nil, []string{"--set --name L --rsource", "--rcheck --name L --rsource -j DROP"}, "drop, recent L"},
		{"remove, then rcheck", held, []string{"--remove --name L --rsource", "--rcheck --name L --rsource -j DROP"}, "accept"},
		{"remove of an empty list", nil, []string{"--remove --name L --rsource -j DROP"}, "accept"},
		{"update negated renews nothing", held, []string{"! --update --seconds 600 --name L --rsource -j DROP"}, "accept"},
		{"the newest change counts", nil, []string{"--set --name L --rsource", "--remove --name L --rsource", "--set --name L --rsource", "--rcheck --name L --rsource -j DROP"}, "drop, recent L"},
		{"set, remove, then rcheck", nil, []string{"--set --name L --rsource", "--remove --name L --rsource", "--rcheck --name L --rsource -j DROP"}, "accept"},
		{"removed in the end", nil, []string{"--set --name L --rsource", "--remove --name L --rsource"}, "accept"},
		{"renewed twice is once", held, []string{"--update --name L --rsource", "--set --name L --rsource"}, "accept, recent L"},
		{"destination", map[string][]netip.Addr{"L": {netip.MustParseAddr("10.96.10.1")}}, []string{"--rcheck --name L --rdest -j DROP"}, "drop"},
		{"mask", map[string][]netip.Addr{"L": {netip.MustParseAddr("10.244.1.99")}}, []string{"--rcheck --name L --mask 255.255.255.0 --rsource -j DROP"}, "drop"},
		{"default list", nil, []string{"--set --rsource -j DROP"}, "drop, recent DEFAULT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			for _, r := range tt.rules {
				lines = append(lines, "filter FORWARD -m recent "+r)
			}
			tr := newTracer(t, testHost, lines...).WithRecent(tt.recent)
			if have := outcomes(t, tr, packet(t, podPacket)); have != tt.want {
				t.Errorf("want %s, have %s", tt.want, have)
			}
		})
	}
}
