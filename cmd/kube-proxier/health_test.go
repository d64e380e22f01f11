package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func TestWhatCannotBeListenedOnIsAnEvent(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	h := newHealthService(klog.Background(), &config.Config{NodeName: "node1", SyncPeriod: time.Second}, proxier.NewStore(), nodeEvents{recorder, "node1"}, false)
	inUse := errors.New("address already in use")
	h.checkFailed(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}, 31000, inUse)
	h.serverFailed(inUse)
	for _, parts := range [][]string{
		{"Warning", "FailedToStartServiceHealthcheck", "node1", "already in use"},
		{"Warning", "FailedToStartProxierHealthcheck", "already in use"},
	} {
		got := <-recorder.Events
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("event %q does not hold %q", got, part)
			}
		}
	}
	h.node.recorder = nil // without an API server the log says it
	h.checkFailed(&corev1.Service{}, 31000, inUse)
	h.serverFailed(inUse)
}

func TestOnlyInAClusterANodeNeedsItsObject(t *testing.T) {
	for _, test := range []struct {
		name      string
		manifests bool
		want      proxier.Eligibility
	}{{"from an API server", false, proxier.NodeMissing}, {"from manifests", true, proxier.Eligible}} {
		t.Run(test.name, func(t *testing.T) {
			h := newHealthService(klog.Background(), &config.Config{}, proxier.NewStore(), nodeEvents{}, test.manifests)
			if got := h.pages.Eligibility(); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestADryRunHasNoHealthService(t *testing.T) {
	var h *healthService
	h.add(proxier.IPv4)
	h.begin(&config.Config{})
	if h.progress(proxier.IPv4) != nil {
		t.Error("it watches")
	}
	h.reporter().Synced(proxier.Report{})
	if err := h.run(t.Context()); err != nil {
		t.Error(err)
	}
}
