package e2e

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// contextUntil ends with parent or with end.
func contextUntil(parent context.Context, end <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		select {
		case <-end:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// ill is how long it is at least; make soak takes minutes.
var ill = flag.Duration("ill", 0, "how long each illness of the API server lasts at least")

// Whatever the API server does, what was in force stays so, and what has
// changed meanwhile follows when the server is well.
func TestAPIServerThatIsIll(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	g := s.startGateway()
	d := s.startSynced()
	steady := s.startSteady()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.local)
	probes := from(clusterIPs(service), s.caller)
	s.expect("before", "local", probes)
	pods := []*testenv.Host{s.remote, s.local}
	for i, fault := range []struct {
		name string
		call func(http.ResponseWriter, *http.Request) bool
	}{
		{"errors", unavailable}, {"too many requests", throttled}, {"no answers", silent}, {"garbage", garbled}, {"no history", expired},
	} {
		g.set(fault.call)
		pod := pods[i%2]
		s.setEndpoints("web", pod)
		s.await(fault.name, func() string {
			const enough = 3 // Services, EndpointSlices and the Node
			if have := g.met(); have < enough && fault.name != "no answers" {
				return fmt.Sprintf("%d requests have met it", have)
			}
			return ""
		})
		if fault.name == "errors" {
			s.expectStatus("that the API server is ill is shown", func(p statusPage) bool {
				return strings.Contains(p.APIServerUnanswered.Reason, "services: ")
			})
		}
		<-time.After(*ill)
		g.set(nil)
		well := time.Now()
		s.expect("after "+fault.name, pod.Name, probes)
		t.Logf("after %s: what had changed was in force within %v", fault.name, time.Since(well).Round(time.Millisecond))
	}
	steady.stop("faults of the API server")
	s.expectStatus("that the API server is well is shown", func(p statusPage) bool { return p.APIServerUnanswered.Reason == "" })
	if strings.Contains(d.log.text(), "Nearly all Services") {
		t.Error("a loss is reported though nothing was lost")
	}
}

// A server that is restored from a backup lists what was: that counts, until it
// has caught up.
func TestOlderListFromTheAPIServer(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	g := s.startGateway()
	steadyService := s.createService("steady", nil)
	s.setEndpoints("steady", s.remote)
	service := s.createService("web", nil)
	s.setEndpoints("web", s.local)
	g.keepLists(true)
	g.set(noStreams)
	s.startSynced()
	g.keepLists(false)
	probes := from(clusterIPs(service), s.caller)
	s.expect("before", "local", probes)
	steady := s.startStream(from(clusterIPs(steadyService), s.caller)...)

	s.setEndpoints("web", s.remote)
	s.expect("after a change", "remote", probes)
	// The old list, and then nothing new.
	g.set(func(w http.ResponseWriter, r *http.Request) bool {
		if g.older(w, r) {
			return true
		}
		return r.URL.Query().Has("watch") && silent(w, r)
	})
	s.expect("by an older list", "local", probes)
	g.set(nil)
	s.expect("when the server has caught up", "remote", probes)
	steady.stop("an older list")
}

// Not in parallel: other tests would have sixty Services more.
func TestSuddenLossIsAppliedAndReported(t *testing.T) {
	s := newStage(t, testenv.VariantNFT)
	const many = 60
	for i := range many {
		name := fmt.Sprintf("web-%d", i)
		s.createService(name, nil)
		s.setEndpoints(name, s.remote)
	}
	g := s.startGateway()
	d := s.startSynced()
	service, err := shared.client.CoreV1().Services(s.namespace).Get(t.Context(), "web-7", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	probes := from(clusterIPs(service), s.caller)
	s.expect("before", "remote", probes)
	g.set(empty)
	s.expect("with an empty list", "timed out", probes)
	d.awaitLog(`Nearly all Services are suddenly gone`)
	for _, family := range []string{"IPv4", "IPv6"} {
		s.await("a metric over "+family, func() string {
			if text := s.metrics(); !strings.Contains(text, `kubeproxier_sudden_losses_total{ip_family="`+family+`"} 1`) {
				return "no loss is counted"
			}
			return ""
		})
	}
	if _, status := s.get(s.node1.Host, netip.MustParseAddr("127.0.0.1"), healthPort, "/status"); !strings.Contains(status, `"lastLoss"`) {
		t.Errorf("the status page tells of no loss:\n%s", status)
	}
	g.set(nil)
	s.expect("when they are back", "remote", probes)
	s.awaitNodeEvent("ServicesLost", "Services with endpoints")
	s.awaitNoDiff()
}
