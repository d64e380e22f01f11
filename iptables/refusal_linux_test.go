package iptables

import (
	"os/exec"
	"testing"
)

// Only what the tool or the kernel has against the input is a refusal.
func TestWhatIsARefusal(t *testing.T) {
	for _, test := range []struct {
		name, script string
		want         bool
	}{
		{"nft does not know a match", `echo "line 4: RULE_APPEND failed (No such file or directory): rule in chain KUBE-SVC-A"; exit 4`, true},
		{"legacy does not commit", `echo "iptables-restore: line 4 failed"; exit 1`, true},
		{"the tool does not know an option", `echo "iptables-restore v1.8.9 (legacy): unknown option"; exit 2`, true},
		{"the lock is held", `echo "Another app is currently holding the xtables lock."; exit 4`, false},
		{"legacy has no memory", `echo "iptables-restore v1.8.9 (legacy): can't alloc memory!"; exit 1`, false},
		{"nft has no memory", `echo "iptables-restore: line 4722 failed: Memory allocation problem."; exit 4`, false},
		{"the kernel has no memory", `echo "line 4: RULE_APPEND failed (Cannot allocate memory): rule in chain KUBE-SVC-A"; exit 4`, false},
		{"a netlink buffer is full", `echo "line 4: RULE_APPEND failed (No buffer space available): rule in chain KUBE-SVC-A"; exit 4`, false},
		{"the loader fails", `echo "error while loading shared libraries: libc.so.6"; exit 127`, false},
		{"killed", `kill -KILL $$`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := restore(exec.Command("sh", "-c", test.script), "")
			if err == nil {
				t.Fatal("no error")
			}
			if _, have := asRefusal(err); have != test.want {
				t.Errorf("%v: refused is %t, want %t", err, have, test.want)
			}
		})
	}
}
