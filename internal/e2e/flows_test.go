package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A flow is a UDP client that never changes its source port, as those of DNS,
// syslog and VoIP: without the program's doing the kernel would send it where
// it was sent first, for ever.
type flow struct {
	s    *stage
	conn *testenv.Conn
	name string
	to   netip.AddrPort
}

// openFlows opens one from that port of a host to each UDP frontend.
func (s *stage) openFlows(frontends []frontend, from *testenv.Host, port uint16) (flows []flow) {
	s.t.Helper()
	for _, f := range frontends {
		if f.proto != "udp" {
			continue
		}
		source := from.Addr4()
		if f.to.Addr().Is6() {
			source = from.Addr6()
		}
		conn, err := from.Open(s.t.Context(), f.proto, f.to, testenv.DialOptions{
			Source: netip.AddrPortFrom(source, port), Timeout: 100 * time.Millisecond,
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		flows = append(flows, flow{s, conn, from.Name + " to " + f.to.String(), f.to})
	}
	if len(flows) == 0 {
		s.t.Fatal("no frontend is of UDP")
	}
	return flows
}

// awaitFlows waits until all flows have that outcome, and logs how long that
// took since the change.
func (s *stage) awaitFlows(what, outcome string, flows []flow) {
	s.t.Helper()
	since := time.Now()
	for _, f := range flows {
		s.await(what+": "+f.name, func() string {
			if have := testenv.Outcome(f.conn.Ask()); have != outcome {
				return "have " + have + ", want " + outcome
			}
			return ""
		})
		s.t.Logf("%s: %s: %s after %s", what, f.name, outcome, time.Since(since).Round(time.Millisecond))
	}
}

// tracked is node1's entry of each flow.
func (s *stage) tracked(flows []flow) []conntrack.Flow {
	s.t.Helper()
	found := make([]conntrack.Flow, len(flows))
	err := s.node1.Do(func() error {
		for _, family := range proxier.Families {
			if err := (conntrack.Table{}).Flows(context.Background(), family, func(f *conntrack.Flow) bool {
				i := slices.IndexFunc(flows, func(want flow) bool { return want.to == f.Original.Dst && want.conn.Local() == f.Original.Src })
				if i >= 0 {
					found[i] = *f
				}
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// awaitQuiet waits until the last pass is so long ago that the next change is
// not made to wait for its minimal distance from it, which is a second.
func (s *stage) awaitQuiet() {
	s.t.Helper()
	last := regexp.MustCompile(`(?m)^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv[46]"\} (\S+)$`)
	s.await("a quiet second", func() string {
		found := last.FindAllStringSubmatch(s.metrics(), -1)
		for _, m := range found {
			seconds, err := strconv.ParseFloat(m[1], 64)
			if ago := time.Since(time.UnixMilli(int64(seconds * 1000))); err != nil || ago < time.Second {
				return fmt.Sprint("a pass was ", ago, " ago ", err)
			}
		}
		if len(found) != 2 {
			return fmt.Sprint("the last passes: ", found)
		}
		return ""
	})
}

// With the pace of passes that is the default: this is what a cluster sees.
func TestUDPClientsFollowTheirService(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	start := func() *daemon {
		d := s.startWith(append(s.flags(), "-v=2")...)
		d.awaitSync()
		return d
	}
	d := start()
	service := s.createService("dns", func(service *corev1.Service) { service.Spec.Type = corev1.ServiceTypeNodePort })
	s.setEndpoints("dns", s.local)
	// Of both families, to a cluster IP and to a node port.
	flows := append(s.openFlows(clusterIPs(service), s.caller, 4000), s.openFlows(nodePorts(service, s.node1), s.Client(), 4000)...)
	if len(flows) != 4 {
		t.Fatalf("%d flows, want 4", len(flows))
	}
	s.awaitFlows("a Service", "local", flows)

	s.awaitQuiet()
	s.setEndpoints("dns", s.remote)
	s.awaitFlows("the endpoint is replaced", "remote", flows)
	s.awaitQuiet()
	s.setEndpoints("dns")
	s.awaitFlows("no endpoint is left", "refused", flows)
	s.awaitQuiet()
	s.setEndpoints("dns", s.local)
	s.awaitFlows("there is one again", "local", flows)

	s.deleteService("dns")
	s.setEndpoints("dns", s.remote)
	s.awaitGone("the Service is deleted", flows)
	s.awaitQuiet()
	s.createService("dns", func(again *corev1.Service) {
		again.Spec.Type, again.Spec.ClusterIP, again.Spec.ClusterIPs = corev1.ServiceTypeNodePort, service.Spec.ClusterIP, service.Spec.ClusterIPs
		for i := range again.Spec.Ports {
			again.Spec.Ports[i].NodePort = service.Spec.Ports[i].NodePort
		}
	})
	s.awaitFlows("the Service is there again", "remote", flows)

	before := s.tracked(flows)
	d.stop()
	start()
	// What a start deletes, it deletes in its first look at the table.
	s.await("a look at the tracked connections", func() string {
		if text := s.metrics(); !hasSample(text, `kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family="IPv6"} `) {
			return "none yet"
		}
		return ""
	})
	s.awaitFlows("after a restart", "remote", flows)
	if after := s.tracked(flows); !slices.Equal(after, before) {
		t.Errorf("after a restart node1 tracks\n%v\nwant the same as before,\n%v", after, before)
	}
}

// awaitGone waits until nobody who served answers any more.
func (s *stage) awaitGone(what string, flows []flow) {
	s.t.Helper()
	for _, f := range flows {
		s.await(what+": "+f.name, func() string {
			switch have := testenv.Outcome(f.conn.Ask()); have {
			case "local", "remote":
				return "answered by " + have
			}
			return ""
		})
	}
}
