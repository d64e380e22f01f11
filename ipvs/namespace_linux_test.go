package ipvs_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/ipvs"
)

// Others look for a process's network namespace at its first thread, as kubectl
// exec does. Go keeps that one, whatever was done to it.
func TestTheFirstThreadStaysInItsNamespace(t *testing.T) {
	testenv.Need(t, testenv.Root)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // few threads: the first has its turn
	home := namespaceOf(t, "self")
	for range 50 {
		err := ipvs.InNewNamespace(func() error {
			if now := namespaceOf(t, "thread-self"); now == home {
				return fmt.Errorf("the probe is in the process's namespace, %s", now)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if now := namespaceOf(t, "self"); now != home {
			t.Fatalf("the process was in %s, and now its first thread is in %s", home, now)
		}
	}
}

func namespaceOf(t *testing.T, task string) string {
	t.Helper()
	name, err := os.Readlink("/proc/" + task + "/ns/net")
	if err != nil {
		t.Error(err)
	}
	return name
}
