package kerneltest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestLockHeldByAnother: the legacy tools share a lock. Who holds it for ever is
// an error that says so, nothing is taken for refused, and afterwards the same
// pass succeeds.
func TestLockHeldByAnother(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesLegacy)
	kernels := newKernels(t, testenv.StartCluster(t).Node("node1").Host, testenv.VariantLegacy)
	configs := map[proxier.Family]iptables.Config{}
	for family, k := range kernels {
		configs[family] = k.config(t, 14) // probes, and would wait for the lock
	}
	// The lock of xtables(8), but not the one that all of this machine share.
	path := filepath.Join(t.TempDir(), "xtables.lock")
	t.Setenv("XTABLES_LOCKFILE", path)
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	dataplanes := map[proxier.Family]*iptables.Dataplane{}
	var both sync.WaitGroup // each waits for the lock for some seconds
	for family, k := range kernels {
		d := iptables.NewDataplane(k, configs[family])
		dataplanes[family] = d
		plan := planOf(t, d, dumpState(t, family))
		both.Go(func() {
			refused, err := plan.Apply(t.Context())
			if e, ok := errors.AsType[*iptables.RestoreError](err); !ok || !e.Locked || len(refused) > 0 {
				t.Errorf("%s: while the lock is held: %v refused, error %v", family, refused, err)
			} else if !strings.Contains(err.Error(), "lock") {
				t.Errorf("%s: the error does not say that it is the lock: %v", family, err)
			}
		})
	}
	both.Wait()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for family, k := range kernels {
		if k.sent() != 1 {
			t.Errorf("%s: sent %d times while the lock was held, want 1: trying again is for the caller", family, k.sent())
		}
		serve(t, dataplanes[family], dumpState(t, family))
		mustBeRight(t, k, configs[family], dumpState(t, family))
	}
}
