package proxier_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestSuddenLoss(t *testing.T) {
	gone := func(s *proxier.Store, from, to int) {
		for i := from; i < to; i++ {
			service := clustergen.Service(i)
			s.DeleteService(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
		}
	}
	withoutEndpoints := func(s *proxier.Store, from, to int) {
		for i := from; i < to; i++ {
			slice := clustergen.Slice(i, proxier.IPv4, 0, 0)
			s.DeleteEndpointSlice(types.NamespacedName{Namespace: slice.Namespace, Name: slice.Name})
		}
	}
	unready := func(s *proxier.Store, from, to int) {
		for i := from; i < to; i++ {
			slice := clustergen.Slice(i, proxier.IPv4, 2, 0)
			for e := range slice.Endpoints {
				slice.Endpoints[e].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false)}
			}
			s.SetEndpointSlice(slice)
		}
	}
	for _, test := range []struct {
		name     string
		services int
		change   func(*proxier.Store)
		want     *proxier.Loss
	}{
		{"nothing changes", 100, func(*proxier.Store) {}, nil},
		{"all Services go", 100, func(s *proxier.Store) { gone(s, 0, 100) }, &proxier.Loss{Before: 100}},
		{"all endpoints go", 100, func(s *proxier.Store) { withoutEndpoints(s, 0, 100) }, &proxier.Loss{Before: 100}},
		{"all endpoints are unready", 100, func(s *proxier.Store) { unready(s, 0, 100) }, &proxier.Loss{Before: 100}},
		{"half of the Services and half of the endpoints go", 100, func(s *proxier.Store) {
			gone(s, 0, 50)
			withoutEndpoints(s, 50, 100)
		}, &proxier.Loss{Before: 100}},
		{"nine are left of a hundred", 100, func(s *proxier.Store) { gone(s, 9, 100) }, &proxier.Loss{Before: 100, Left: 9}},
		{"ten are left of a hundred", 100, func(s *proxier.Store) { gone(s, 10, 100) }, nil},
		{"the last ones are left", 100, func(s *proxier.Store) { gone(s, 0, 95) }, &proxier.Loss{Before: 100, Left: 5}},
		{"fifty are enough", 50, func(s *proxier.Store) { gone(s, 0, 50) }, &proxier.Loss{Before: 50}},
		{"forty-nine are few", 49, func(s *proxier.Store) { gone(s, 0, 49) }, nil},
		{"all are replaced by others", 100, func(s *proxier.Store) {
			gone(s, 0, 100)
			for i := 200; i < 300; i++ {
				s.SetService(clustergen.Service(i))
				s.SetEndpointSlice(clustergen.Slice(i, proxier.IPv4, 1, 0))
			}
		}, &proxier.Loss{Before: 100}},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := clustergen.Uniform(test.services, 2)
			options := clustergen.Options(proxier.IPv4)
			before := proxier.Build(nil, store.Snapshot(), options)
			test.change(store)
			after := proxier.Build(before, store.Snapshot(), options)
			if diff := cmp.Diff(test.want, proxier.FindLoss(before, after)); diff != "" {
				t.Errorf("loss (- want, + have):\n%s", diff)
			}
			if loss := proxier.FindLoss(nil, after); loss != nil {
				t.Errorf("at the start: %+v", loss)
			}
			if loss := proxier.FindLoss(after, before); loss != nil && test.name != "all are replaced by others" {
				t.Errorf("the way back: %+v", loss)
			}
		})
	}
}

// A loss is told once, also when it takes several passes: lists come one by one.
func TestALossIsReportedOnce(t *testing.T) {
	store := clustergen.Uniform(60, 1)
	var have []string
	r := proxier.Reconciler{
		Store: store, Options: clustergen.Options(proxier.IPv4),
		Dataplanes: []proxier.Dataplane{&recorder{empty: true}, &recorder{empty: true}},
		Reporter: reporterFunc(func(r proxier.Report) {
			if r.Loss == nil {
				have = append(have, "")
				return
			}
			have = append(have, fmt.Sprintf("%d of %d left", r.Loss.Left, r.Loss.Before))
		}),
	}
	pass := func() {
		if err := r.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		pass()
		time.Sleep(time.Hour)
		for i := range 60 {
			service := clustergen.Service(i)
			store.DeleteService(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
			if i == 30 {
				pass()
				time.Sleep(time.Second)
			}
		}
		pass()
		pass()
	})
	if diff := cmp.Diff([]string{"", "", "", "", "0 of 60 left", "", "", ""}, have); diff != "" {
		t.Errorf("losses reported (- want, + have):\n%s", diff)
	}
}
