package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
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

// As in kube-proxy, work may wait for two sync periods, of the configuration in
// force.
func TestHealthIsLostAfterTwoSyncPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealthService(klog.Background(), &config.Config{SyncPeriod: 10 * time.Second}, proxier.NewStore(), nodeEvents{}, true)
		h.add(proxier.IPv4)
		h.progress(proxier.IPv4).Due(proxier.IPv4)
		var since time.Duration
		expect := func(at time.Duration, want bool) {
			t.Helper()
			<-time.After(at - since)
			since = at
			if got := h.health.Healthy(); got != want {
				t.Errorf("healthy after %s: %t, want %t", at, got, want)
			}
		}
		expect(20*time.Second-1, true)
		expect(20*time.Second, false)
		h.begin(&config.Config{SyncPeriod: 30 * time.Second})
		expect(60*time.Second-1, true)
		expect(60*time.Second, false)
		h.begin(&config.Config{SyncPeriod: 31 * time.Second})
		expect(61*time.Second, true)
		h.begin(&config.Config{SyncPeriod: time.Second})
		expect(61*time.Second+1, false)
		h.progress(proxier.IPv4).Done(&proxier.State{Family: proxier.IPv4}, nil, nil)
		h.progress(proxier.IPv4).Due(proxier.IPv4)
		expect(63*time.Second, true)
		expect(63*time.Second+1, false)
	})
}

// Where node ports are narrowed to ranges, health check node ports listen on what
// the host tells here. Of IPVS mode's thousands of addresses none is the host's.
func TestServicesAddressesAreNotThisHosts(t *testing.T) {
	testenv.Need(t, testenv.Root)
	h := newHealthService(klog.Background(), &config.Config{}, proxier.NewStore(), nodeEvents{}, false)
	h.add(proxier.IPv4)
	err := testenv.InNamespace(func() error {
		for _, command := range []string{
			"link set lo up",
			"link add eth0 type bridge", "address add 172.18.0.11/16 dev eth0",
			"link add kube-ipvs0 type bridge", // not every kernel has dummy devices
			"address add 10.96.0.1/32 dev kube-ipvs0", "address add fd00:10:96::a/128 dev kube-ipvs0 nodad",
		} {
			if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(command)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", command, err, out)
			}
		}
		got, err := h.pages.Status.Checks[0].Addresses()
		if want := "[127.0.0.1 172.18.0.11 ::1]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A node is offered to load balancers when it serves, not when the program runs.
func TestEligibility(t *testing.T) {
	for _, test := range []struct {
		name      string
		manifests bool
		want      proxier.Eligibility
	}{{"from an API server", false, proxier.NodeMissing}, {"from manifests", true, proxier.Eligible}} {
		t.Run(test.name, func(t *testing.T) {
			store := proxier.NewStore()
			h := newHealthService(klog.Background(), &config.Config{}, store, nodeEvents{}, test.manifests)
			for _, family := range proxier.Families {
				h.add(family)
			}
			expect := func(when string, want proxier.Eligibility) {
				t.Helper()
				if got := h.pages.Eligibility(); got != want {
					t.Errorf("%s: %q, want %q", when, got, want)
				}
			}
			expect("at the start", proxier.ObjectsMissing)
			store.SetSynced()
			if test.manifests {
				expect("with all objects", proxier.NothingServed)
			}
			state := func(family proxier.Family) *proxier.State { return &proxier.State{Family: family} }
			for _, family := range proxier.Families {
				h.progress(family).Due(family)
			}
			h.progress(proxier.IPv4).Done(state(proxier.IPv4), nil, nil)
			h.progress(proxier.IPv6).Done(state(proxier.IPv6), nil, errors.New("no iptables"))
			if test.manifests {
				expect("with one family", proxier.NothingServed)
			}
			h.progress(proxier.IPv6).Done(state(proxier.IPv6), nil, nil)
			expect("with both", test.want)
			h.progress(proxier.IPv6).Due(proxier.IPv6)
			expect("with something to do", test.want)
			store.SetNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}})
			expect("with a Node", proxier.Eligible)
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
