package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A write that fails for a reason of its own says nothing about the Services:
// none is left out, who is served stays served, and the pass is made again.
func TestWritesThatFail(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s, m := newStage(t, variant), newManifests(t)
		probes := m.writeSteady(s)
		const services = 100
		m.writeMany(services, 0)
		d := s.startWith(append(m.flags(s), "-v=2", "--iptables-sync-period=2s", "--iptables-min-sync-period=100ms")...)
		d.awaitSync()
		s.expect("the steady Service", "remote", probes)
		steady := s.startStream(probes...)
		for i, fault := range []struct{ name, script string }{
			{"killed at once", `kill -KILL $$`},
			{"killed amid the write", `$tool "$@" <"$input" & kill -KILL $! $$`},
			{"killed after the write", `$tool "$@" <"$input"; kill -KILL $$`},
			{"no memory for the loader", `ulimit -v 3000`},
			{"no memory for the rules", `ulimit -v 6500; n=0; while [ $n -lt 20000 ]; do echo ":KUBE-SVC-NOBODY$n - [0:0]"; n=$((n + 1)); done >"$input.more"
sed -i -e "/^\*nat/r $input.more" "$input"`},
			{"no memory in the kernel", `echo "iptables-restore v1.8.9 (nf_tables): " >&2; echo "line 7: RULE_APPEND failed (Cannot allocate memory): rule in chain KUBE-SERVICES" >&2; exit 4`},
			{"input cut off", `head -c 100 "$input" | $tool "$@"; exit 1`},
		} {
			s.restores.forget("met")
			s.restores.fault("echo >>\"$folder/met\"\n" + fault.script + "\n")
			m.writeMany(services, i+1)
			s.await(fault.name, func() string {
				const enough = 2 // one for each family
				if strings.Count(s.restores.file("met"), "\n") < enough {
					return "it is not met often enough"
				}
				return ""
			})
			s.restores.fault("")
			s.await("the end of "+fault.name, func() string {
				difference, _, status := s.command(append([]string{"diff"}, m.flags(s)...)...)
				if status != 0 {
					return difference
				}
				return ""
			})
			if strings.Contains(d.log.text(), "The kernel refuses") {
				t.Fatalf("%s: Services are left out because of it", fault.name)
			}
		}
		steady.stop("writes that fail")
	})
}

// The lock of iptables-legacy is held for half a minute: each pass waits for it,
// says so, and is made again.
func TestLockIsHeld(t *testing.T) {
	t.Parallel()
	s, m := newStage(t, testenv.VariantLegacy), newManifests(t)
	// Not the lock that all of this machine share.
	path := filepath.Join(t.TempDir(), "xtables.lock")
	s.environ = append(s.environ, "XTABLES_LOCKFILE="+path)
	probes := m.writeSteady(s)
	d := s.startWith(append(m.flags(s), "-v=2")...)
	d.awaitSync()
	s.expect("before", "remote", probes)
	steady := s.startStream(probes...)
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	m.writeMany(30, 0)
	s.await("half a minute of waiting", func() string {
		const calls = 4 // each waits for 5 s, and there is a pause between
		for _, family := range proxier.Families {
			sample := fmt.Sprintf(`kubeproxier_pass_failures_total{dataplane="iptables",ip_family=%q} `, family)
			_, after, _ := strings.Cut(s.metrics(), sample)
			count, _, _ := strings.Cut(after, "\n")
			if have, err := strconv.Atoi(count); err != nil || have < calls {
				return fmt.Sprintf("%s: %s passes have failed, want %d", family, count, calls)
			}
		}
		return ""
	})
	d.awaitLog("xtables lock")
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	s.await("rules", func() string {
		difference, _, status := s.command(append([]string{"diff"}, m.flags(s)...)...)
		if status != 0 {
			return difference
		}
		return ""
	})
	steady.stop("a lock that is held")
	if strings.Contains(d.log.text(), "The kernel refuses") {
		t.Error("Services are left out because of the lock")
	}
}

// The program needs no place for files: everything is read-only, and there is no
// TMPDIR.
func TestReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s, m := newStage(t, variant), newManifests(t)
		probes := m.writeSteady(s)
		program := filepath.Join(t.TempDir(), "read-only")
		// iptables-legacy has its lock in /run, which a container has as a tmpfs.
		script := `#!/bin/sh -eu
exec unshare --mount sh -euc '
	mount --make-rprivate /
	for path in $(cut -d" " -f5 /proc/self/mountinfo | sort -u); do
		case $path in
		/proc* | /sys* | /dev*) ;;
		*) mount -o remount,bind,ro "$path" 2>/dev/null || test ! -d "$path" ;;
		esac
	done
	mount -t tmpfs -o size=4k tmpfs /run
	if touch "$1/written" 2>/dev/null; then echo it is not read-only >&2; exit 99; fi
	shift
	unset TMPDIR HOME
	exec "$@"' - "` + t.TempDir() + `" "` + shared.program + `" "$@"
`
		if err := os.WriteFile(program, []byte(script), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		// Without the recorder, which keeps what it sees.
		dir, err := variant.PathDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s.environ = testenv.Environ(dir)
		d := s.startProgram(program, append(m.flags(s), "-v=2")...)
		d.awaitSync()
		s.expect("by a program that cannot write", "remote", probes)
		if difference, _, status := s.command(append([]string{"diff"}, m.flags(s)...)...); status != 0 {
			t.Errorf("there is a difference:\n%s", difference)
		}
	})
}
