package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// The smallest of all measurements, so that the program is known to work when
// somebody wants to know figures. None of them is judged.
func TestAFewServicesAreMeasuredInAllPhases(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.KubeAPI, testenv.IPTablesNFT)
	dir := t.TempDir()
	program := filepath.Join(dir, "kube-proxier")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/kube-proxier/kube-proxier/cmd/kube-proxier")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", build, err, output)
	}
	template, err := os.ReadFile("../../../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	page, results := filepath.Join(dir, "benchmarks.md"), filepath.Join(dir, "benchmarks")
	if err := os.WriteFile(page, template, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	err = execute(t.Context(), []string{
		"-program", program, "-sizes", "20x2", "-modes", "iptables", "-variants", "nft",
		"-idle", "1s", "-changes", "2", "-churn", "1s", "-packets", "20", "-deadline", "2m", "-out", results, "-page", page,
	}, &log)
	t.Logf("it printed\n%s", log.String())
	if err != nil {
		t.Fatal(err)
	}
	read, err := report.Read(filepath.Join(results, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Runs) != 1 {
		t.Fatalf("have %d runs, want one", len(read.Runs))
	}
	run := read.Runs[0]
	if run.Failed != "" || run.Start == nil || run.Memory == nil || run.Idle == nil || run.One == nil || run.Ten == nil ||
		run.Fifty == nil || run.Restart == nil || len(run.Packets) != 8 {
		t.Fatalf("have the run %+v, which lacks a phase", run)
	}
	if w := run.Restart.Written; w == nil || *w != 0 {
		t.Errorf("a restart with the kernel already right has written %v lines, want 0", w)
	}
	for _, p := range run.Packets[2:] {
		if p.Rules == nil || *p.Rules < 1 {
			t.Errorf("%s: have %v rules walked", p.Way, p.Rules)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "## 20 Services with 2 endpoints each") {
		t.Errorf("the page lacks the size:\n%s", text)
	}
}
