package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// deadly counts the writes of the program and has it killed with the given one,
// after that, or meanwhile.
func deadly(moment string, write int) string {
	const script = `exec 9>>"$folder/lock"
flock 9
echo >>"$folder/writes"
if [ "$(wc -l <"$folder/writes")" -eq %d ]; then
	%s
fi
exec 9>&-
`
	then := map[string]string{
		"after":     `$tool "$@" <"$input"; kill -KILL $PPID; exit 1`,
		"meanwhile": `$tool "$@" <"$input" & sleep 0.00$(($$ % 10)); kill -KILL $! $PPID; exit 1`,
	}[moment]
	return fmt.Sprintf(script, write, then)
}

// A pass of several writes is cut short at each of them. Before a write the kernel
// is as it is after the one before. The next start finds
// what is there and completes it; who connects to another Service never notices.
func TestKilledAtEachWrite(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s, m := newStage(t, variant), newManifests(t)
		probes := m.writeSteady(s)
		// iptables-nft is given a thousand names in a call.
		services := map[testenv.Variant]int{testenv.VariantNFT: 600, testenv.VariantLegacy: 30}[variant]
		m.writeMany(services, 0)
		start := func() *daemon { return s.startWith(append(m.flags(s), "-v=2")...) }
		d := start()
		d.awaitSync()
		s.expect("the steady Service", "remote", probes)
		d.stop()
		generation := 0
		for _, moment := range []string{"after", "meanwhile"} {
			steady := s.startStream(probes...)
			writes := 0
			for killed := true; killed; {
				generation++
				m.writeMany(services, generation)
				s.restores.forget("writes")
				s.restores.fault(deadly(moment, writes+1))
				killed = start().diesBeforeSync()
				s.restores.fault("")
				if killed {
					writes++
					d := start()
					d.awaitSync()
					d.stop()
				}
				m.mustAgree(s)
			}
			const least = 2 // one for each family
			if sent := strings.Count(s.restores.file("writes"), "\n"); writes < least || sent != writes {
				t.Errorf("%s: killed at %d writes, the whole pass has %d, want the same and at least %d", moment, writes, sent, least)
			}
			steady.stop("kills " + moment + " each of " + strconv.Itoa(writes) + " writes")
		}
	})
}

// synced reports whether a log tells of a pass over both families.
func synced(log string) bool {
	for _, either := range syncedLogs() {
		if !slices.ContainsFunc(either, func(text string) bool { return strings.Contains(log, text) }) {
			return false
		}
	}
	return true
}

// diesBeforeSync waits until the program has been killed, or else has served all
// and is told to end.
func (d *daemon) diesBeforeSync() bool {
	d.t.Helper()
	for {
		text, more := d.log.state()
		if synced(text) {
			d.stop()
			return false
		}
		select {
		case <-more:
		case <-d.ended:
			return true
		}
	}
}

// mustAgree fails unless the kernel has what the manifests ask for.
func (m *manifests) mustAgree(s *stage) {
	m.t.Helper()
	if difference, problems, status := s.command(append([]string{"diff"}, m.flags(s)...)...); status != 0 {
		m.t.Fatalf("kube-proxier diff: exit status %d: %s%s", status, problems, difference)
	}
}

// What is still to be written when the program is killed is never written: it
// would undo what the next one does.
func TestAWriteDoesNotOutliveItsProcess(t *testing.T) {
	t.Parallel()
	s, m := newStage(t, testenv.VariantLegacy), newManifests(t)
	m.writeSteady(s)
	s.restores.fault(`echo $$ >"$folder/pid.part"
mv "$folder/pid.part" "$folder/pid"
sleep 2 # as if for the lock
echo >"$folder/outlived"
`)
	d := s.startWith(m.flags(s)...)
	s.await("a write that waits", func() string {
		if s.restores.file("pid") == "" {
			return "no process"
		}
		return ""
	})
	d.kill()
	process := "/proc/" + strings.TrimSpace(s.restores.file("pid"))
	s.await("its end", func() string {
		if _, err := os.Stat(process); err == nil {
			return process + " is there"
		}
		return ""
	})
	if s.restores.file("outlived") != "" {
		t.Error("a write went on after the program was killed")
	}
}
