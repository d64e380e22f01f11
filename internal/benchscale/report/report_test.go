package report

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

func run(program, mode string, variant testenv.Variant, services int, cpu float64) *Run {
	return &Run{
		Kind: subject.Kind{Program: program, Mode: mode, Variant: variant}, Size: load.Size{Services: services, Endpoints: 10},
		One:     &Changes{CPU: cpu, P50: cpu},
		Packets: []Packets{{Way: WayBaseline, P50: 5}, {Way: WayRandom, P50: 5 + 100*cpu, Base: 5}},
	}
}

func TestVerdictsFollowFromTheFigures(t *testing.T) {
	cpu := targets()[2]
	tests := []struct {
		name         string
		ours, theirs float64
		want         string
	}{
		{"just", 0.1, 1, "reached: 100 ms to 1.00 s, 1/10.0; want 1/10"},
		{"not quite", 0.2, 1, "**not reached**: 200 ms to 1.00 s, 1/5.00; want 1/10"},
		{"worse", 2, 1, "**not reached**: 2.00 s to 1.00 s, 2.00 times; want 1/10"},
		{"free", 0, 1, "reached: 0 s to 1.00 s, nothing; want 1/10"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := comparison{
				against: againstNFT, ours: run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1, test.ours),
				theirs: run(subject.KubeProxy, subject.IPTables, testenv.VariantNFT, 1, test.theirs),
			}
			if have := cpu.verdict(c); have != test.want {
				t.Errorf("have %q, want %q", have, test.want)
			}
		})
	}
	ours := run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1, 1)
	if have := cpu.verdict(comparison{against: againstNFT, ours: ours, theirs: &Run{}}); have != "not measured" {
		t.Errorf("without a figure: have %q", have)
	}
	if have := targets()[6].verdict(comparison{against: againstIPVS, ours: ours, theirs: ours}); have != "" {
		t.Errorf("without a target: have %q", have)
	}
}

func TestASizeThatKubeProxyDoesNotReachIsNotComparedWhereAnotherIs(t *testing.T) {
	stuck := run(subject.KubeProxy, subject.IPTables, testenv.VariantNFT, 10000, 1)
	stuck.Failed = "start: not within 30m0s"
	runs := []*Run{
		run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1000, 1),
		run(subject.KubeProxy, subject.IPTables, testenv.VariantNFT, 1000, 1),
		run(subject.Ours, subject.IPTables, testenv.VariantNFT, 10000, 1), stuck,
		run(subject.KubeProxy, subject.NFTables, testenv.VariantNFT, 10000, 1),
		run(subject.KubeProxy, subject.IPTables, testenv.VariantLegacy, 10000, 1), // with none of ours
	}
	var have []string
	for _, c := range comparisons(runs) {
		have = append(have, c.against+" "+c.size.String())
	}
	if diff := cmp.Diff([]string{"kube-proxy iptables-nft 1000x10", "kube-proxy nftables 10000x10"}, have); diff != "" {
		t.Errorf("-want +have:\n%s", diff)
	}
}

func TestAConnectionThatSeemsFasterThanWithoutRulesProvesNothing(t *testing.T) {
	for p50, want := range map[float64]bool{25: true, 20: true, 19.5: true, 18: false} {
		r := &Run{Packets: []Packets{{Way: WayPod, P50: p50, Base: 20}}}
		if v, ok := added(WayPod)(r); ok != want || v < 0 {
			t.Errorf("%v µs, and 20 µs without rules: have %v, %v", p50, v, ok)
		}
	}
}

func TestNumbersAreReadable(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.01234: "0.012", 1.234: "1.23", 9.996: "10.0", 12.34: "12.3", 99.97: "100", 1234.5: "1,235", 1234567: "1,234,567", -1234: "-1,234",
	} {
		if have := number(v); have != want {
			t.Errorf("%v: have %s, want %s", v, have, want)
		}
	}
	for v, want := range map[float64]string{0: "0 s", 0.0005: "0.500 ms", 0.25: "250 ms", 0.9999: "1.00 s", 61: "61.0 s"} {
		if have := seconds(v); have != want {
			t.Errorf("%v s: have %s, want %s", v, have, want)
		}
	}
}

func TestPlotsAreWellFormed(t *testing.T) {
	results := map[string][]*Run{
		"nothing":          nil,
		"one":              {run("a<b&\"c\"", subject.IPTables, testenv.VariantNFT, 1000, 1)},
		"zero":             {run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1000, 0)},
		"with gaps":        {run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1000, 1e-4), {Kind: subject.Kind{Program: "x"}, Size: load.Size{Services: 2, Endpoints: 2}}},
		"the emulated too": {{VM: true}, run(subject.Ours, subject.IPTables, testenv.VariantNFT, 1000, 1e6)},
	}
	for name, runs := range results {
		for _, p := range plots() {
			image := string(p.svg(runs))
			decoder := xml.NewDecoder(strings.NewReader(image))
			for {
				_, err := decoder.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s, %s: %v in\n%s", name, p.file, err, image)
				}
			}
			if strings.Contains(image, "NaN") || strings.Contains(image, "Inf") {
				t.Errorf("%s, %s: a coordinate is no number:\n%s", name, p.file, image)
			}
			if len(runs) > 0 && !strings.Contains(image, "1,000 × 10") && name != "nothing" {
				t.Errorf("%s, %s: no group is named in\n%s", name, p.file, image)
			}
		}
	}
}

func TestBarsAreAsHighAsTheirValues(t *testing.T) {
	if low, high := decades([]group{{bars: []bar{{0.2, true}, {30, true}, {0, true}, {1e9, false}}}}); low != -1 || high != 2 {
		t.Fatalf("have the decades from %d to %d, want -1 to 2", low, high)
	}
	for v, want := range map[float64]float64{0.1: top + height, 100: top, 1e9: top, 1: top + height*2.0/3} {
		if have := y(v, -1, 2); have < want-0.1 || have > want+0.1 {
			t.Errorf("%v: have %v, want %v", v, have, want)
		}
	}
}

func TestOnlyWhatIsBetweenTheMarksIsRewritten(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "benchmarks.md")
	if err := os.WriteFile(page, []byte("head\n"+beginMark+"old\n"+endMark+"foot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	results := filepath.Join(dir, "benchmarks")
	for range 2 { // reads what it has written
		r, err := Read(filepath.Join(results, "results.json"))
		if err != nil {
			t.Fatal(err)
		}
		r.Machine = "a machine"
		r.Add(run(subject.Ours, subject.IPTables, testenv.VariantNFT, 10000, 1))
		r.Add(run(subject.KubeProxy, subject.IPTables, testenv.VariantNFT, 10000, 20))
		if err := r.Write(results, page); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	have := string(text)
	if !strings.HasPrefix(have, "head\n"+beginMark) || !strings.HasSuffix(have, endMark+"foot\n") || strings.Contains(have, "old") {
		t.Errorf("the page is\n%s", have)
	}
	for _, want := range []string{
		"## 10,000 Services with 10 endpoints each",
		"|  | kube-proxier iptables-nft | kube-proxy iptables-nft |\n",
		"| one endpoint changed: CPU | 1.00 s | 20.0 s |\n",
		"reached: 100 µs to 2,000 µs, 1/20.0; want 1/20",
		"](benchmarks/start.svg)",
	} {
		if strings.Count(have, want) != 1 {
			t.Errorf("%q is there %d times, want once, in\n%s", want, strings.Count(have, want), have)
		}
	}
	if _, err := between("without marks", "x"); err == nil {
		t.Error("a page without marks is accepted")
	}
}
