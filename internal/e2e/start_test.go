package e2e

import (
	"context"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// waiting is what is logged while objects are missing.
const waiting = "nothing is changed before they are complete"

// Not in parallel: the API server is stopped.
func TestNothingIsWrittenBeforeTheAPIServerAnswers(t *testing.T) {
	s := newStage(t, testenv.VariantNFT)
	d := s.startSynced()
	steady := s.startSteady()
	service := s.createService("web", nil)
	s.setEndpoints("web", s.local)
	probes := from(clusterIPs(service), s.caller)
	s.expect("by the first instance", "local", probes)

	d.kill()
	s.setEndpoints("web", s.remote)
	startKube := s.stopKube()
	s.restores.drain()
	rules := s.rules()
	d = s.start()
	d.awaitLog(waiting)
	if sent := s.restores.drain(); sent != "" {
		t.Errorf("written without an API server:\n%s", sent)
	}
	if have := s.rules(); have != rules {
		t.Errorf("without an API server the rules became\n%s\nfrom\n%s", have, rules)
	}
	s.expect("without an API server", "local", probes)

	startKube()
	d.awaitSync()
	s.expect("when the API server is there", "remote", probes)
	s.awaitNoDiff()
	steady.stop("a start without an API server")
}

func TestNothingIsWrittenBeforeTheNodeIsThere(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	rules := s.rules()
	nodes, ctx := shared.client.CoreV1().Nodes(), t.Context()
	node, err := nodes.Get(ctx, s.nodeName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes.Delete(ctx, s.nodeName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	service := s.createService("web", nil)
	s.setEndpoints("web", s.remote)
	d := s.start()
	d.awaitLog(waiting)
	if have := s.rules(); have != rules {
		t.Errorf("without a Node the rules became\n%s\nfrom\n%s", have, rules)
	}
	again := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: s.nodeName}, Spec: node.Spec, Status: node.Status}
	if _, err := nodes.Create(ctx, again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d.awaitSync()
	s.expect("with the Node", "remote", from(clusterIPs(service), s.everybody()...))
}

// stopKube stops the API server that all tests share until start is called, or
// the test ends.
func (s *stage) stopKube() (start func()) {
	s.t.Helper()
	if err := shared.kube.Stop(); err != nil {
		s.t.Fatal(err)
	}
	start = sync.OnceFunc(func() {
		if err := shared.kube.Start(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Fatal(err)
		}
	})
	s.t.Cleanup(start)
	return start
}
