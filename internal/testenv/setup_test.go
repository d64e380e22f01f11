package testenv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An old Go says of go.mod that it cannot be read, which helps nobody.
func TestSetupSaysThatGoIsTooOld(t *testing.T) {
	for name, test := range map[string]struct {
		goes string // a program in place of go
		want string // what setup.sh says; empty where that Go will do
	}{
		"of Debian 12":           {"echo go1.19.8", "Go 1.26.0 or newer is needed, see https://go.dev/dl; here is 1.19.8"},
		"the one before":         {"echo go1.25.10", "here is 1.25.10"},
		"the very one":           {"echo go1.26.0", ""},
		"a later one":            {"echo go1.27.1 X:boringcrypto", ""},
		"a candidate":            {"echo go1.27rc1", ""},
		"of the developers":      {"echo devel go1.28-abcdef Mon Jan 5", ""},
		"one that gets the next": {"echo 'go: downloading go1.26.0 (linux/amd64)' >&2; echo go1.26.0", ""},
		"one that cannot":        {"echo 'go: download go1.26.0: no network' >&2; exit 1", "here is none that can be used: go: download go1.26.0: no network"},
		"not there":              {"exec nowhere-at-all", "here is none that can be used: "},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "go")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.goes+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("../../tools/setup.sh", "go")
			cmd.Env = append(os.Environ(), "GO="+program)
			said, err := cmd.CombinedOutput()
			if (err != nil) != (test.want != "") || !strings.Contains(string(said), test.want) {
				t.Errorf("error %v, want %q, it says\n%s", err, test.want, said)
			}
		})
	}
}

// Where a folder is another user's, git tells nothing about it, and go build fails
// if it asks.
func TestMakeBuildsInSomebodyElsesFolder(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	builds := 0
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "$(GO) build") {
			continue
		}
		builds++
		if !strings.Contains(line, " -buildvcs=false ") {
			t.Errorf("this asks git: %s", line)
		}
	}
	if builds == 0 {
		t.Error("nothing is built")
	}
}
