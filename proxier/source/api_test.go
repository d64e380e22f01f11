package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func apiService(name, ip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip},
	}
}

func apiSlice(name string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
}

func apiNode(name string) *corev1.Node {
	node := unaddressedNode(name)
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}}
	return node
}

// unaddressedNode is one that a cloud controller has not completed yet.
func unaddressedNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}}},
	}
}

// clientOf is a Client of a fake server, which cannot send a list as a watch.
func clientOf(server *fake.Clientset) *Client {
	core := server.CoreV1()
	return &Client{
		Services:       faked[*corev1.ServiceList]{core.Services(metav1.NamespaceAll)},
		EndpointSlices: faked[*discoveryv1.EndpointSliceList]{server.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)},
		Nodes:          faked[*corev1.NodeList]{core.Nodes()},
	}
}

type faked[L runtime.Object] struct{ Resource[L] }

// IsWatchListSemanticsUnSupported is what client-go asks a client for.
func (faked[L]) IsWatchListSemanticsUnSupported() bool { return true }

// startAPI runs an API source for the node "here". What the client changes from
// then on is seen: a fake server sends a watch nothing of what came between the
// list and the watch.
func startAPI(t *testing.T, client *fake.Clientset) *running {
	t.Helper()
	kinds := []string{"services", "endpointslices", "nodes"}
	watched := make(chan string, len(kinds))
	last := len(client.WatchReactionChain) - 1 // the server itself
	client.WatchReactionChain[last] = announcer{client.WatchReactionChain[last], watched}
	a := &API{Client: clientOf(client), NodeName: "here"}
	r := start(t, a.Run)
	for timeout := time.After(deadline); len(kinds) > 0; {
		select {
		case kind := <-watched:
			kinds = slices.DeleteFunc(kinds, func(k string) bool { return k == kind })
		case <-timeout:
			t.Fatalf("%q are not watched", kinds)
		}
	}
	return r
}

// An announcer says of which kinds there is a watch.
type announcer struct {
	clienttesting.WatchReactor
	watched chan<- string
}

func (a announcer) React(action clienttesting.Action) (bool, watch.Interface, error) {
	handled, w, err := a.WatchReactor.React(action)
	if err == nil {
		select {
		case a.watched <- action.GetResource().Resource:
		default: // nobody waits any more
		}
	}
	return handled, w, err
}

func must[T any](t *testing.T) func(T, error) {
	t.Helper()
	return func(_ T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPIFollowsServices(t *testing.T) {
	client := fake.NewClientset(apiService("a", "10.0.0.1"), apiNode("here"))
	r := startAPI(t, client)
	r.serves("a 10.0.0.1")
	services := client.CoreV1().Services("ns")
	must[*corev1.Service](t)(services.Create(t.Context(), apiService("b", "10.0.0.2"), metav1.CreateOptions{}))
	r.serves("a 10.0.0.1", "b 10.0.0.2")
	must[*corev1.Service](t)(services.Update(t.Context(), apiService("b", "10.0.0.3"), metav1.UpdateOptions{}))
	r.serves("a 10.0.0.1", "b 10.0.0.3")
	if err := services.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.serves("b 10.0.0.3")
}

func TestAPIFollowsEndpointSlices(t *testing.T) {
	client := fake.NewClientset(apiSlice("a"), apiNode("here"))
	r := startAPI(t, client)
	r.serves("a only slices")
	endpointSlices := client.DiscoveryV1().EndpointSlices("ns")
	must[*discoveryv1.EndpointSlice](t)(endpointSlices.Create(t.Context(), apiSlice("b"), metav1.CreateOptions{}))
	r.serves("a only slices", "b only slices")
	moved := apiSlice("b")
	moved.Labels[discoveryv1.LabelServiceName] = "c"
	must[*discoveryv1.EndpointSlice](t)(endpointSlices.Update(t.Context(), moved, metav1.UpdateOptions{}))
	r.serves("a only slices", "c only slices")
	if err := endpointSlices.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.serves("c only slices")
}

// restrictions records the selectors with which each resource is asked for.
func restrictions(client *fake.Clientset) (get func() map[string][]string) {
	var mu sync.Mutex
	seen := map[string][]string{}
	record := func(a clienttesting.Action, r clienttesting.ListRestrictions) {
		mu.Lock()
		defer mu.Unlock()
		key := a.GetVerb() + " " + a.GetResource().Resource
		seen[key] = []string{r.Labels.String(), r.Fields.String()}
	}
	client.PrependReactor("list", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		record(a, a.(clienttesting.ListAction).GetListRestrictions())
		return false, nil, nil
	})
	client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		r := a.(clienttesting.WatchAction).GetWatchRestrictions()
		record(a, clienttesting.ListRestrictions{Labels: r.Labels, Fields: r.Fields})
		return false, nil, nil
	})
	return func() map[string][]string {
		mu.Lock()
		defer mu.Unlock()
		copied := map[string][]string{}
		for k, v := range seen {
			copied[k] = v
		}
		return copied
	}
}

func TestAPIAsksOnlyForWhatAProxyServes(t *testing.T) {
	want := map[string][]string{}
	for resource, selectors := range map[string][]string{
		"services":       {"!service.kubernetes.io/service-proxy-name", "spec.clusterIP!=None"},
		"endpointslices": {"!service.kubernetes.io/headless", ""},
		"nodes":          {"", "metadata.name=here"},
	} {
		want["list "+resource], want["watch "+resource] = selectors, selectors
	}
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(apiNode("here"))
		get := restrictions(client)
		ctx, cancel := context.WithCancel(quietly(t))
		defer cancel()
		go func() { _ = (&API{Client: clientOf(client), NodeName: "here"}).Run(ctx, proxier.NewStore()) }() // ends with the context
		synctest.Wait()
		if d := cmp.Diff(want, get()); d != "" {
			t.Errorf("selectors (-want +got):\n%s", d)
		}
		cancel()
		synctest.Wait()
	})
}

func TestAPIWaitsForItsObjects(t *testing.T) {
	const never = 100 * time.Hour
	there, bare := []runtime.Object{apiNode("here")}, []runtime.Object{unaddressedNode("here")}
	for name, test := range map[string]struct {
		objects         []runtime.Object
		nodeName        string
		appears         time.Duration // when the Node does, if not at once
		addressed       time.Duration // when it gets an address, if not at once
		services, nodes time.Duration // when listings of them are answered
		want            time.Duration // until synced
		without         string        // what is missing of the Node then, as the log has it
	}{
		"Node is there":       {objects: there, nodeName: "here"},
		"Node comes later":    {nodeName: "here", appears: 7 * time.Second, want: 7 * time.Second},
		"Node never comes":    {nodeName: "here", want: DefaultNodeWait, without: "is the node's name right?"},
		"address comes later": {objects: bare, nodeName: "here", addressed: 7 * time.Second, want: 7 * time.Second},
		"address and Node come later": {
			nodeName: "here", appears: 25 * time.Second, addressed: 29 * time.Second, want: 29 * time.Second,
		},
		"address never comes": {objects: bare, nodeName: "here", want: DefaultNodeWait, without: "the node's addresses"},
		"only another Node":   {objects: []runtime.Object{apiNode("there")}, nodeName: "here", want: DefaultNodeWait, without: "is the node's name right?"},
		"no Node is wanted":   {},
		"Services come late":  {objects: there, nodeName: "here", services: 10 * time.Minute, want: 10 * time.Minute},
		"Node comes late":     {objects: there, nodeName: "here", nodes: time.Minute, want: time.Minute},
		"Node cannot be had":  {objects: there, nodeName: "here", nodes: never, want: nodeListWait, without: "may this client list and watch nodes?"},
		"Node after Services": {nodeName: "here", services: 10 * time.Minute, appears: 10*time.Minute + 7*time.Second, want: 10*time.Minute + 7*time.Second},
		"Services and no Node": {
			nodeName: "here", services: 10 * time.Minute, want: 10*time.Minute + DefaultNodeWait, without: "is the node's name right?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset(test.objects...)
				filterNodes(client, test.nodeName)
				store := proxier.NewStore()
				wake := store.Watch()
				ctx, cancel := context.WithCancel(quietly(t))
				begin := time.Now()
				asked := clientOf(client)
				asked.Services = late[*corev1.ServiceList]{asked.Services, begin.Add(test.services)}
				asked.Nodes = late[*corev1.NodeList]{asked.Nodes, begin.Add(test.nodes)}
				go func() { _ = (&API{Client: asked, NodeName: test.nodeName}).Run(ctx, store) }() // ends with the context
				if test.appears > 0 {
					time.AfterFunc(test.appears, func() {
						node := apiNode("here")
						if test.addressed > 0 {
							node = unaddressedNode("here")
						}
						_, _ = client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
					})
				}
				if test.addressed > 0 {
					time.AfterFunc(test.addressed, func() {
						store.Snapshot() // the fake reads an object that it has sent: after that was changed in place
						_, _ = client.CoreV1().Nodes().Update(ctx, apiNode("here"), metav1.UpdateOptions{})
					})
				}
				<-wake
				if got := time.Since(begin); got != test.want || !store.Synced() {
					t.Errorf("synced %v after %v, want %v", store.Synced(), got, test.want)
				}
				node := store.Snapshot().Node
				if node != nil && node.Name != "here" {
					t.Errorf("took Node %s for its own", node.Name)
				}
				if wanted := test.nodeName != "" && test.without == ""; wanted != (node != nil && proxier.HasAddress(node)) {
					t.Errorf("has the Node %v", node)
				}
				if text := logged(ctx); strings.Contains(text, "Going on without") != (test.without != "") || !strings.Contains(text, test.without) {
					t.Errorf("says %q, want %q", text, test.without)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

func TestWhatIsThereIsNotMissedAtTheDeadline(t *testing.T) {
	there := make(chan struct{})
	close(there)
	for range 100 { // of several that are ready, select takes any
		if !receivedWithin(t.Context(), 0, there) {
			t.Fatal("it was there, and is said to be missing")
		}
	}
}

// A late server answers no listing before a moment.
type late[L runtime.Object] struct {
	Resource[L]

	from time.Time
}

// List implements Resource.
func (l late[L]) List(ctx context.Context, options metav1.ListOptions) (L, error) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(l.from)):
	}
	return l.Resource.List(ctx, options)
}

// IsWatchListSemanticsUnSupported is that of faked.
func (late[L]) IsWatchListSemanticsUnSupported() bool { return true }

// filterNodes makes the fake honour the selector for one Node in listings.
func filterNodes(client *fake.Clientset, name string) {
	nodes := schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	client.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		list := &corev1.NodeList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
		if node, err := client.Tracker().Get(nodes, "", name); err == nil {
			list.Items = append(list.Items, *node.(*corev1.Node))
		}
		return true, list, nil
	})
}

func TestAPIDoesNotSyncBeforeEverythingIsListed(t *testing.T) {
	for _, resource := range []string{"services", "endpointslices"} {
		t.Run(resource, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset(apiNode("here"), apiService("a", "10.0.0.1"), apiSlice("a"))
				var mu sync.Mutex
				broken := true
				client.PrependReactor("list", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
					mu.Lock()
					defer mu.Unlock()
					return broken, nil, errors.New("no route to host")
				})
				store := proxier.NewStore()
				ctx, cancel := context.WithCancel(quietly(t))
				go func() { _ = (&API{Client: clientOf(client), NodeName: "here"}).Run(ctx, store) }() // ends with the context
				timer := time.NewTimer(10 * time.Minute)
				<-timer.C
				if store.Synced() {
					t.Fatal("synced without the " + resource)
				}
				mu.Lock()
				broken = false
				mu.Unlock()
				<-store.Watch() // only a store that has synced wakes anybody
				if s := store.Snapshot().Services; len(s) != 1 || s[0].Service == nil || len(s[0].Slices) != 1 {
					t.Errorf("synced, but holds %v", s)
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}

func TestAPIKeepsObjectsWhileTheServerIsAwayAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(apiNode("here"), apiService("stays", "10.0.0.1"), apiService("goes", "10.0.0.2"))
		var mu sync.Mutex
		away := false
		var watches []watch.Interface
		client.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			return away, nil, errors.New("connection refused")
		})
		client.PrependWatchReactor("services", func(a clienttesting.Action) (bool, watch.Interface, error) {
			mu.Lock()
			defer mu.Unlock()
			if away {
				// The server has forgotten the version, so that a new listing is needed.
				return true, nil, apierrors.NewResourceExpired("too old")
			}
			w := watch.NewFake()
			watches = append(watches, w)
			return true, w, nil
		})
		store := proxier.NewStore()
		wake := store.Watch()
		ctx, cancel := context.WithCancel(quietly(t))
		go func() { _ = (&API{Client: clientOf(client), NodeName: "here"}).Run(ctx, store) }() // ends with the context
		<-wake
		synctest.Wait()

		mu.Lock()
		away = true
		for _, w := range watches {
			w.Stop()
		}
		mu.Unlock()
		if err := client.CoreV1().Services("ns").Delete(ctx, "goes", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		must[*corev1.Service](t)(client.CoreV1().Services("ns").Create(ctx, apiService("comes", "10.0.0.3"), metav1.CreateOptions{}))
		timer := time.NewTimer(time.Hour)
		<-timer.C
		r := &running{t: t, store: store}
		if d := cmp.Diff([]string{"goes 10.0.0.2", "stays 10.0.0.1"}, r.services()); d != "" {
			t.Errorf("while the server is away (-want +got):\n%s", d)
		}

		mu.Lock()
		away = false
		mu.Unlock()
		timer.Reset(time.Minute)
		<-timer.C
		if d := cmp.Diff([]string{"comes 10.0.0.3", "stays 10.0.0.1"}, r.services()); d != "" {
			t.Errorf("after the server is back (-want +got):\n%s", d)
		}
		cancel()
		synctest.Wait()
	})
}

func TestAPIKeepsTheNodeWhenItIsDeleted(t *testing.T) {
	client := fake.NewClientset(apiNode("here"), apiService("a", "10.0.0.1"))
	r := startAPI(t, client)
	r.serves("a 10.0.0.1")
	if err := client.CoreV1().Nodes().Delete(t.Context(), "here", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	must[*corev1.Service](t)(client.CoreV1().Services("ns").Create(t.Context(), apiService("b", "10.0.0.2"), metav1.CreateOptions{}))
	r.serves("a 10.0.0.1", "b 10.0.0.2")
	if r.store.Snapshot().Node == nil {
		t.Error("the Node is gone")
	}
	tick, deadline := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for r.store.Eligibility() != proxier.NodeMissing {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the node's eligibility is %q, want %q", r.store.Eligibility(), proxier.NodeMissing)
		}
	}
}

func TestAPINeedsAClient(t *testing.T) {
	if err := (&API{}).Run(t.Context(), proxier.NewStore()); err == nil {
		t.Error("no error")
	}
}
