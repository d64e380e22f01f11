package main

import (
	"io"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// The manifests are an example to others: nothing in them may be a problem.
func TestManifestsAreWithoutProblems(t *testing.T) {
	s := &stage{out: io.Discard, manifests: t.TempDir()}
	if err := s.writeManifests(); err != nil {
		t.Fatal(err)
	}
	objects, problems, err := (&source.Manifests{Path: s.manifests, NodeName: "node1"}).Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("problem: %s", p)
	}
	if services, slices := len(objects.Services), len(objects.EndpointSlices); services != 5 || slices != 8 {
		t.Errorf("%d Services and %d EndpointSlices, want 5 and 8", services, slices)
	}
}
