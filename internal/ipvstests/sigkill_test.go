package ipvstests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The real program is killed at moments all over its first pass, in which it has to
// change another Service each time. The next one completes what was begun; who
// connects to a Service that nobody touches never notices.
func TestKilledUnderTraffic(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	change := func(generation int) {
		t.Helper()
		other := service{name: "other", number: 20 + generation%2, endpoints: s.on([]string{"here", "there"}[generation%2])}
		writeFile(t, dir, "other.yaml", other.manifests())
	}
	start := func() (awaitPass func()) {
		before := len(p.log.String())
		p.start(t, "--proxy-mode=ipvs", "-v=2", "--manifests="+dir, "--hostname-override=node1", "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56")
		return func() {
			p.awaitEach(t, 5*time.Millisecond, func() string {
				if log := p.log.String()[before:]; passedAll(log) {
					return ""
				}
				return "the first pass has not ended"
			})
		}
	}
	change(0)
	start()
	p.awaitInForce(t)
	p.end(t)
	stop := s.stream(t, s.webDials())
	change(1)
	begun := time.Now()
	start()()
	whole := time.Since(begun)
	p.end(t)
	moments := 10 * *rounds
	for i := range moments {
		change(i)
		start()
		<-time.After(whole * time.Duration(i+1) / time.Duration(moments))
		p.kill(t)
		if i%5 == 4 {
			start()
			p.awaitInForce(t)
			p.end(t)
		}
	}
	t.Logf("killed %d times within %v: %d new connections", moments, whole.Round(time.Millisecond), stop())
}

// passedAll reports whether a log at level 2 tells of the last dataplane's first pass
// over both families.
func passedAll(log string) bool {
	for _, family := range proxier.Families {
		of := fmt.Sprintf(`family=%q dataplane="addresses"`, family)
		if !strings.Contains(log, `Synced" `+of) && !strings.Contains(log, `Nothing to do" `+of) {
			return false
		}
	}
	return true
}
