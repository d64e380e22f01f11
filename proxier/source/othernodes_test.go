package source

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func otherNode() *corev1.Node {
	there := apiNode("there")
	there.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "there"}, {Type: corev1.NodeInternalIP, Address: "172.18.0.12"},
	}
	return there
}

// followed runs an API source that follows other nodes, and counts how often they
// are listed; answered says whether anything comes of it.
func followed(t *testing.T, answered bool, test func(client *fake.Clientset, store *proxier.Store, listings *atomic.Int32)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(apiNode("here"), otherNode(), apiService("plain", "10.0.0.1"))
		var listings atomic.Int32
		ended := make(chan struct{})
		client.PrependReactor("list", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if !a.(clienttesting.ListAction).GetListRestrictions().Fields.Empty() {
				return false, nil, nil
			}
			listings.Add(1)
			if answered {
				return false, nil, nil
			}
			<-ended // an error would do as well, but client-go's pauses after errors do not know a test's clock
			return true, &corev1.NodeList{}, nil
		})
		store := proxier.NewStore()
		store.AwaitOtherNodes(true)
		ctx, cancel := context.WithCancel(quietly(t))
		go func() { _ = (&API{Client: clientOf(client), NodeName: "here"}).Run(ctx, store) }() // ends with the context
		synctest.Wait()
		test(client, store, &listings)
		cancel() // before the answer, which is an error to who still waits for it
		synctest.Wait()
		close(ended)
		synctest.Wait()
	})
}

// claim makes a Service with the other node's address.
func claim(t *testing.T, client *fake.Clientset) {
	t.Helper()
	service := apiService("edge", "10.0.0.2")
	service.Spec.ExternalIPs = []string{"172.18.0.12"}
	create(t, client, service)
}

func create(t *testing.T, client *fake.Clientset, service *corev1.Service) {
	t.Helper()
	must[*corev1.Service](t)(client.CoreV1().Services("ns").Create(t.Context(), service, metav1.CreateOptions{}))
	synctest.Wait()
}

func TestOtherNodesAreFollowedOnceAServiceClaimsAddresses(t *testing.T) {
	address := netip.MustParseAddr("172.18.0.12")
	followed(t, true, func(client *fake.Clientset, store *proxier.Store, listings *atomic.Int32) {
		if n := listings.Load(); !store.Synced() || n != 0 {
			t.Fatalf("synced: %v; without a claim the nodes are listed %d times", store.Synced(), n)
		}
		if others := store.Snapshot().OtherNodes; others == nil || !others.Unknown {
			t.Errorf("nobody has asked for the nodes, and they count as known: %+v", others)
		}
		claim(t, client)
		others := store.Snapshot().OtherNodes
		if others.Unknown || !others.Have(address) || listings.Load() != 1 {
			t.Errorf("after a claim: %+v, listed %d times", others, listings.Load())
		}
		if err := client.CoreV1().Nodes().Delete(t.Context(), "there", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if store.Snapshot().OtherNodes.Have(address) {
			t.Error("a node that is gone still has its address")
		}
	})
}

// Clouds whose load balancers have only names shall not make each node watch all.
func TestOtherNodesAreNotFollowedForAName(t *testing.T) {
	followed(t, true, func(client *fake.Clientset, _ *proxier.Store, listings *atomic.Int32) {
		service := apiService("edge", "10.0.0.2")
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example"}}
		create(t, client, service)
		if n := listings.Load(); n != 0 {
			t.Errorf("for a load balancer without an address the nodes are listed %d times", n)
		}
	})
}

// After a change of the mode nobody needs them, and after the change back they are
// found anew.
func TestOtherNodesAreFollowedWhileTheyCount(t *testing.T) {
	address := netip.MustParseAddr("172.18.0.12")
	followed(t, true, func(client *fake.Clientset, store *proxier.Store, listings *atomic.Int32) {
		claim(t, client)
		store.IgnoreOtherNodes()
		synctest.Wait()
		if others := store.Snapshot().OtherNodes; others != nil {
			t.Errorf("nobody asks for the nodes, and there are %+v", others)
		}
		if err := client.CoreV1().Nodes().Delete(t.Context(), "there", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		store.AwaitOtherNodes(true)
		synctest.Wait()
		others := store.Snapshot().OtherNodes
		if others != nil && (others.Unknown || others.Have(address)) || listings.Load() != 2 {
			t.Errorf("when they count again: %+v, listed %d times", others, listings.Load())
		}
		must[*corev1.Node](t)(client.CoreV1().Nodes().Create(t.Context(), otherNode(), metav1.CreateOptions{}))
		synctest.Wait()
		if !store.Snapshot().OtherNodes.Have(address) {
			t.Error("a node that is new is not known")
		}
	})
}

func TestOtherNodesThatCannotBeHadHoldUpNothingForLong(t *testing.T) {
	followed(t, false, func(client *fake.Clientset, store *proxier.Store, _ *atomic.Int32) {
		claim(t, client)
		if others := store.Snapshot().OtherNodes; !others.Unknown {
			t.Error("nodes that were not listed count as known")
		}
		<-time.After(DefaultNodeWait)
		synctest.Wait()
		if others := store.Snapshot().OtherNodes; others != nil && others.Unknown {
			t.Error("an address is waited for that nobody will name")
		}
	})
}

// A Service may come between the moment in which it is found that nobody wants the
// other nodes, or somebody does, and that in which the Store has synced.
func TestOtherNodesAreFollowedThoughTheStoreHasNotSynced(t *testing.T) {
	for name, wanted := range map[string]bool{"somebody wants them": true, "nobody wants them yet": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset(apiNode("here"), apiNode("there"))
				store := proxier.NewStore()
				store.AwaitOtherNodes(true)
				ctx, cancel := context.WithCancel(quietly(t))
				a := &API{Client: clientOf(client), NodeName: "here"}
				known := make(chan struct{})
				go a.followOtherNodes(ctx, store, known, wanted)
				synctest.Wait()
				if isClosed(known) != wanted {
					t.Errorf("before a Service claims an address they are known: %v", !wanted)
				}
				service := apiService("edge", "10.0.0.2")
				service.Spec.ExternalIPs = []string{"172.18.0.12"}
				store.SetService(service)
				synctest.Wait()
				store.SetSynced()
				synctest.Wait()
				if !isClosed(known) {
					t.Error("a Service claims an address, and they are not known")
				}
				cancel()
				synctest.Wait()
			})
		})
	}
}
