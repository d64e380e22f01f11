package proxier_test

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// A State that was built on its predecessor says the same as one built from
// nothing, whatever happened in between.
func TestBuildOnAPredecessorSaysTheSame(t *testing.T) {
	for seed := range uint64(10) {
		cluster := clustergen.NewRandom(seed, 40)
		var state *proxier.State
		for range 100 {
			cluster.Step()
			cluster.Step()
			options := clustergen.Options(proxier.Families[seed%2])
			snapshot := cluster.Store.Snapshot()
			state = proxier.Build(state, snapshot, options)
			fresh := proxier.Build(nil, snapshot, options)
			if diff := cmp.Diff(fresh.String(), state.String()); diff != "" {
				t.Fatalf("seed %d (-from nothing +on predecessor):\n%s", seed, diff)
			}
		}
	}
}

func TestBuildSharesWhatDidNotChange(t *testing.T) {
	store := clustergen.Uniform(50, 2)
	options := clustergen.Options(proxier.IPv4)
	first := proxier.Build(nil, store.Snapshot(), options)
	store.SetEndpointSlice(clustergen.Slice(7, proxier.IPv4, 2, 1))
	second := proxier.Build(first, store.Snapshot(), options)
	changed := 0
	for i := range first.Services {
		if first.Services[i].Targets[0] != second.Services[i].Targets[0] {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d targets differ after one changed, want 1", changed)
	}

	// The other family's endpoints do not concern this one.
	store.SetEndpointSlice(clustergen.Slice(8, proxier.IPv6, 2, 1))
	third := proxier.Build(second, store.Snapshot(), options)
	for i := range second.Frontends {
		if second.Frontends[i] != third.Frontends[i] {
			t.Errorf("frontend %s is not shared", second.Frontends[i])
		}
	}
}

func TestBuildForgetsThePredecessorWhenTheNodeChanges(t *testing.T) {
	store := clustergen.Uniform(3, 3)
	options := clustergen.Options(proxier.IPv4)
	before := proxier.Build(nil, store.Snapshot(), options)
	node := clustergen.Node().DeepCopy()
	node.Labels["topology.kubernetes.io/zone"] = "zone-z"
	store.SetNode(node)
	after := proxier.Build(before, store.Snapshot(), options)
	if after.Node.Zone != "zone-z" || after.Services[0] == before.Services[0] {
		t.Errorf("zone %q, Service shared: %v; want zone-z and none shared", after.Node.Zone, after.Services[0] == before.Services[0])
	}
	if options.MasqueradeAll = true; !proxier.Build(after, store.Snapshot(), options).MasqueradeAll {
		t.Error("changed options have no effect")
	}
}

// A field of the Options that did not count would leave Services as they were.
func TestBuildForgetsThePredecessorWhenAnyOptionChanges(t *testing.T) {
	store := clustergen.Uniform(3, 3)
	options := clustergen.Options(proxier.IPv4)
	before := proxier.Build(nil, store.Snapshot(), options)
	if same := proxier.Build(before, store.Snapshot(), clustergen.Options(proxier.IPv4)); same.Services[0] != before.Services[0] {
		t.Error("equal options share nothing")
	}
	for i := range reflect.TypeFor[proxier.Options]().NumField() {
		changed := options
		field := reflect.ValueOf(&changed).Elem().Field(i)
		switch field.Interface().(type) {
		case proxier.Family:
			field.Set(reflect.ValueOf(proxier.IPv6))
		case netip.Addr:
			field.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.1")))
		case []netip.Prefix:
			field.Set(reflect.ValueOf([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}))
		case bool:
			field.SetBool(!field.Bool())
		default:
			field.SetString("other")
		}
		if after := proxier.Build(before, store.Snapshot(), changed); after.Services[0] == before.Services[0] {
			t.Errorf("a change of %s makes no difference", reflect.TypeFor[proxier.Options]().Field(i).Name)
		}
	}
}

func TestEssentialsAreTheAPIServerAndDNS(t *testing.T) {
	store := clustergen.Uniform(5, 1)
	api := clustergen.Service(100)
	api.Namespace, api.Name = "default", "kubernetes"
	dns := clustergen.Service(101)
	dns.Namespace, dns.Name, dns.Labels = "kube-system", "coredns", map[string]string{"k8s-app": "kube-dns"}
	store.SetService(api)
	store.SetService(dns)
	essentials := proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4)).Essentials()
	var got []string
	for _, f := range essentials.Frontends {
		got = append(got, f.Target.Name.String())
	}
	if diff := cmp.Diff([]string{"default/kubernetes:http", "kube-system/coredns:http"}, got); diff != "" {
		t.Errorf("essentials (-want +got):\n%s", diff)
	}
}

func TestAServiceIsFoundByItsName(t *testing.T) {
	state := proxier.Build(nil, clustergen.Uniform(5, 1).Snapshot(), clustergen.Options(proxier.IPv4))
	for _, service := range state.Services {
		if found := state.Service(service.Objects.Name); found != service {
			t.Errorf("%s: found is %v", service.Objects.Name, found)
		}
	}
	for _, name := range []types.NamespacedName{{}, {Namespace: "ns-0", Name: "service-11"}, {Namespace: "zoo", Name: "z"}} {
		if found := state.Service(name); found != nil {
			t.Errorf("%s: found is %s", name, found.Objects.Name)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, services := range []int{1000, 10000} {
		b.Run(sizes(services), func(b *testing.B) {
			store := clustergen.Uniform(services, 10)
			options := clustergen.Options(proxier.IPv4)
			b.Run("from nothing", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					proxier.Build(nil, store.Snapshot(), options)
				}
			})
			b.Run("one endpoint changed", func(b *testing.B) {
				state := proxier.Build(nil, store.Snapshot(), options)
				b.ReportAllocs()
				for n := 1; b.Loop(); n++ {
					store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 10, n))
					state = proxier.Build(state, store.Snapshot(), options)
				}
			})
		})
	}
}

func sizes(services int) string {
	return map[int]string{1000: "1000x10", 10000: "10000x10"}[services]
}
