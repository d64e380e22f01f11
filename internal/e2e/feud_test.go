package e2e

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Not in parallel: objects of other tests would be repaired with.
func TestAFeudIsDampedAndToldWhileObjectsStillCount(t *testing.T) {
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		s := newStage(t, variant)
		d := s.startSynced("--iptables-sync-period=1h")
		service := s.createService("web", nil)
		s.setEndpoints("web", s.remote)
		s.expect("at first", "remote", from(clusterIPs(service), s.caller))

		ctx, giveUp := context.WithCancel(t.Context())
		var stranger sync.WaitGroup
		stranger.Go(func() {
			// On legacy a write that comes within milliseconds of ours would pass for
			// ours, until the comparison at the sync period.
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
				cmd := exec.CommandContext(ctx, "nsenter", "--net="+s.node1.NetNS(), "--", "iptables-"+string(variant), "-w", "5", "-t", "nat", "-F", "KUBE-MARK-MASQ")
				_ = cmd.Run()
			}
		})
		defer func() {
			giveUp()
			stranger.Wait()
		}()
		d.awaitLog("Somebody else keeps changing what is repaired")
		s.awaitNodeEvent("RulesContested", "somebody else keeps changing iptables over IPv4")

		// Repairs wait; a changed object does not.
		repairs := func() int { return strings.Count(d.log.text(), `they are repaired" family="IPv4"`) }
		before := repairs()
		for range 5 {
			s.setEndpoints("web", s.local)
			s.expect("amid the feud", "local", from(clusterIPs(service), s.caller))
			s.setEndpoints("web", s.remote)
			s.expect("and back", "remote", from(clusterIPs(service), s.caller))
		}
		if n := repairs() - before; n > 10 {
			t.Errorf("%d repairs amid a feud, in the time of ten changes", n)
		}
		giveUp()
		stranger.Wait()
		s.awaitNoDiff()
	})
}
