package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestAnotherVariantsWritesAreToldOnceAMinute(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	post := &lookoutPost{
		resident: &resident{logger: log, node: nodeEvents{recorder, "node1"}},
		tool:     &iptables.Tool{Family: proxier.IPv4, Variant: iptables.VariantLegacy, Version: "1.8.9"},
	}
	start := time.Unix(0, 0)
	for _, after := range []time.Duration{0, time.Second, 59 * time.Second, time.Minute} {
		post.seen(proxier.Drift{Cause: proxier.Notified, Writer: proxier.Writer{PID: 7, Name: "kube-proxy"}, What: "nat KUBE-SERVICES"}, start.Add(after))
	}
	close(recorder.Events)
	var told []string
	for e := range recorder.Events {
		told = append(told, e)
	}
	event := "Warning OtherVariantWritten somebody writes rules of a Service proxy with iptables-nft over IPv4, " +
		"while iptables 1.8.9 (legacy) is in use: notification: kube-proxy[7]: nat KUBE-SERVICES"
	if diff := cmp.Diff([]string{event, event}, told); diff != "" {
		t.Errorf("events (-want +have)\n%s", diff)
	}
	text := log.GetSink().(ktesting.Underlier).GetBuffer().String()
	if strings.Count(text, "other variant") != 2 || !strings.Contains(text, "before=2") {
		t.Errorf("logged is\n%s", text)
	}
	klog.Flush()
}

// Without CAP_NET_RAW it is the same for both families, and on purpose.
func TestALookoutThatIsNotPossible(t *testing.T) {
	denied := fmt.Errorf("open socket: %w", syscall.EPERM)
	for name, test := range map[string]struct {
		inUse iptables.Variant
		err   error
		want  []string // parts of the lines
	}{
		"no CAP_NET_RAW":  {iptables.VariantNFT, denied, []string{"noticed: that takes CAP_NET_RAW"}},
		"another reason":  {iptables.VariantNFT, syscall.EMFILE, []string{"too many open files", "too many open files"}},
		"another variant": {iptables.VariantLegacy, denied, []string{"not permitted", "not permitted"}},
	} {
		t.Run(name, func(t *testing.T) {
			log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
			r := &resident{logger: log}
			for _, family := range proxier.Families {
				r.lookoutFailed(&iptables.Tool{Family: family, Variant: test.inUse}, test.err)
			}
			lines := strings.Split(strings.TrimSpace(log.GetSink().(ktesting.Underlier).GetBuffer().String()), "\n")
			if !slices.EqualFunc(lines, test.want, strings.Contains) {
				t.Errorf("logged is %q, want %q", lines, test.want)
			}
		})
	}
}
