package security

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// recording is what stands in for iptables: it notes its words, and what it is sent.
const recording = `#!/bin/sh
echo "${0##*/} $*" >> "$RECORD/words"
case "$0" in
*-save) printf '*nat\nCOMMIT\n' ;;
*-restore) cat >> "$RECORD/input" ;;
*) echo 'iptables v1.8.9 (nf_tables)' ;;
esac
`

// words are all that programs are ever run with. None is an object's.
var words = regexp.MustCompile(`^ip6?tables(` +
	` --version|` +
	`-save -t (nat|filter|mangle)|` +
	` -w 5 -t (nat|filter|mangle) -S [A-Z0-9.:/~a-f-]+|` + // names of chains
	`-restore --noflush -w 5)$`)

// input are all lines that iptables-restore ever reads, with no more freedom than in
// quoted comments; the fuzz tests look at the rules themselves.
var input = regexp.MustCompile(`^(\*(nat|filter|mangle)|COMMIT|` +
	`:[A-Za-z0-9-]+[^\n"]* \[0:0\]|:[A-Z0-9.:/_~a-f-]+ - \[0:0\]|` +
	`-[ADIRX] [A-Za-z0-9.:/_~-]+( ([!A-Za-z0-9.:/_,=~-]+|\[[0-9a-f:]+\]:[0-9]+|"([ -!#-\[\]-~]|\\.)*"))*)$`)

// What Services and slices hold, hostile names included, never becomes a word of a
// command, nor a line of its own.
func TestNoObjectReachesACommandLine(t *testing.T) {
	dir := t.TempDir()
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			if err := os.WriteFile(filepath.Join(dir, family+suffix), []byte(recording), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("RECORD", dir)
	cluster := clustergen.NewRandom(7, 60)
	for range 600 {
		cluster.Step()
	}
	for _, family := range proxier.Families {
		tool, err := iptables.FindTool(t.Context(), family)
		if err != nil {
			t.Fatal(err)
		}
		config := iptables.Config{Options: iptables.Options{Features: iptables.AllFeatures(), MasqueradeBit: 14}, MaxNames: 200}
		state := proxier.Build(nil, cluster.Store.Snapshot(), clustergen.Options(family))
		plan, err := iptables.NewDataplane(tool, config).Plan(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check(t, filepath.Join(dir, "words"), words, 10)
	check(t, filepath.Join(dir, "input"), input, 1000)
}

// check wants each line of a file to match.
func check(t *testing.T, path string, want *regexp.Regexp, atLeast int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, wrong := 0, 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSuffix(line, "\n"); !want.MatchString(line) && wrong < 10 {
			wrong++
			t.Errorf("%s: %q", filepath.Base(path), line)
		}
	}
	if n < atLeast {
		t.Errorf("%s has %d lines, want at least %d", filepath.Base(path), n, atLeast)
	}
}
