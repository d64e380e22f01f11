package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A recorder keeps what is sent to iptables-restore and ip6tables-restore, and
// can refuse some of it, as a kernel would that lacks something, or have worse
// happen.
type recorder struct {
	t   *testing.T
	dir string
}

// In the recorder's folder are what is refused, and what goes wrong.
const (
	refusedFile = "refused"
	faultFile   = "fault"
)

// newRecorder puts itself before the restore programs of a variant's folder.
func newRecorder(t *testing.T, dir string) *recorder {
	t.Helper()
	r := &recorder{t: t, dir: t.TempDir()}
	r.refuse("")
	for _, name := range []string{"iptables-restore", "ip6tables-restore"} {
		path := filepath.Join(dir, name)
		program, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		// The name is final only when all is written.
		script := fmt.Sprintf(`#!/bin/sh
input=%[1]s/%[2]s.$$
cat >"$input.part" && mv "$input.part" "$input"
if line=$(grep -n -m1 -F -f %[1]s/%[4]s "$input"); then
	echo "%[2]s: line ${line%%%%:*} failed" >&2
	exit 1
fi
tool='%[3]s %[2]s'
if [ -e %[1]s/%[5]s ] && ! grep -q KUBE-PROBE "$input"; then
	. %[1]s/%[5]s
fi
exec $tool "$@" <"$input"
`, r.dir, name, program, refusedFile, faultFile)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	return r
}

// refuse has each input refused that has the text in one of its lines; "" for
// none.
func (r *recorder) refuse(text string) {
	r.t.Helper()
	if text != "" {
		text += "\n"
	}
	if err := os.WriteFile(filepath.Join(r.dir, refusedFile), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// fault has a shell script run before each write. It can end the program that
// writes ($PPID), or take the place of the write ($tool "$@" <"$input"); $folder
// is for its files. "" ends that.
func (r *recorder) fault(script string) {
	r.t.Helper()
	path := filepath.Join(r.dir, faultFile)
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil && script != "" {
		// Whole or not at all: somebody may be about to run it.
		if err = os.WriteFile(path+".new", []byte("folder="+r.dir+"\n"+script), 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// forget removes one of a fault's files.
func (r *recorder) forget(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
}

// file is the content of one of a fault's files; "" if there is none.
func (r *recorder) file(name string) string {
	text, _ := os.ReadFile(filepath.Join(r.dir, name))
	return string(text)
}

// drain returns what was sent since it was last called, without the trials
// that are made in a network namespace of their own.
func (r *recorder) drain() string {
	r.t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.dir, "*-restore.*"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		if strings.HasSuffix(path, ".part") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			r.t.Fatal(err)
		}
		if !strings.Contains(string(text), "KUBE-PROBE") {
			all.Write(text)
		}
	}
	return all.String()
}
