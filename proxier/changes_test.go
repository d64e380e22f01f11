package proxier_test

import (
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestChangesThatMatterAreCounted(t *testing.T) {
	store := clustergen.Uniform(2, 1)
	if got, want := store.Changes(), (proxier.Changes{Services: 2, Endpoints: 4}); got != want {
		t.Fatalf("two Services with two slices each: %+v, want %+v", got, want)
	}
	store.SetService(clustergen.Service(0))
	store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 0))
	if got, want := store.Changes(), (proxier.Changes{Services: 2, Endpoints: 4}); got != want {
		t.Errorf("the same objects again: %+v, want %+v", got, want)
	}
	store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv4, 1, 1))
	if got, want := store.Snapshot().Changes, (proxier.Changes{Services: 2, Endpoints: 5}); got != want {
		t.Errorf("another endpoint: %+v, want %+v", got, want)
	}
}
