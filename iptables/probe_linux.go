package iptables

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Probe finds out what the kernel is able to do, by trial in a network
// namespace of its own, so that nothing is touched.
func (t *Tool) Probe(ctx context.Context) Features {
	w := writer{state: &proxier.State{Family: t.Family}}
	return Features{
		BPF:         t.try(ctx, w.selfMatch()+" -j RETURN"),
		DropInvalid: DropInvalid(),
	}
}

func (t *Tool) try(ctx context.Context, rule string) bool {
	_, no := asRefusal(t.tryAlone(ctx, trial([]Need{{Table: NAT, Rule: rule}})))
	return !no
}

// tryAlone sends the input to the kernel in a network namespace that is gone
// afterwards. Where that is not permitted, to a container without CAP_SYS_ADMIN,
// it is only tested.
func (t *Tool) tryAlone(ctx context.Context, input string) error {
	cmd := t.run(ctx, "-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := restore(cmd, input)
	if errors.Is(err, syscall.EPERM) {
		return t.test(ctx, input)
	}
	return err
}

// test writes nothing. The tool asks the kernel for each match and target, and
// merely warns of one that it lacks.
func (t *Tool) test(ctx context.Context, input string) error {
	output, err := runRestore(t.run(ctx, "-restore", "--noflush", "--test", "-w", strconv.Itoa(lockSeconds)), input)
	if err == nil && strings.Contains(output, "missing kernel module") {
		return &RestoreError{Output: output}
	}
	return err
}

// Missing finds out by trial, in a network namespace of its own, which of the
// needs the kernel or the tool does not meet. An error says that trying is not
// possible.
func (t *Tool) Missing(ctx context.Context, needs []Need) ([]Need, error) {
	err := t.tryAlone(ctx, trial(needs))
	if _, no := asRefusal(err); !no {
		return nil, err
	}
	if err := t.tryAlone(ctx, "*nat\nCOMMIT\n"); err != nil { // it is not for what the rules use
		return nil, err
	}
	var missing []Need
	for _, need := range needs {
		err := t.tryAlone(ctx, trial([]Need{need}))
		_, no := asRefusal(err)
		switch {
		case no:
			missing = append(missing, need)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// DropInvalid is the feature of that name: conntrack is not told to take TCP
// packets out of the window for valid (nf_conntrack-sysctl in the kernel's
// documentation).
func DropInvalid() bool {
	value, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
	return err != nil || strings.TrimSpace(string(value)) == "0"
}
