package load

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// writers is how many objects are written at once. More of them do not make an
// API server faster that shares two processors with everything else.
const writers = 16

// Size is how large a cluster is.
type Size struct {
	Services  int `json:"services"`
	Endpoints int `json:"endpoints"` // of each Service
}

// String is as -sizes has it: "1000x10".
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.Services, s.Endpoints) }

// ParseSize is the inverse of String.
func ParseSize(text string) (Size, error) {
	var s Size
	var rest string
	n, _ := fmt.Sscanf(text, "%dx%d%s", &s.Services, &s.Endpoints, &rest)
	if n != 2 || s.Services < 1 || s.Services > 60000 || s.Endpoints < 1 || s.Endpoints > 100 || s.Services*s.Endpoints > spare {
		return Size{}, fmt.Errorf("size %q: want SERVICESxENDPOINTS, such as 1000x10, of at most 60000 Services with 100 endpoints each", text)
	}
	return s, nil
}

// A Cluster is what the API server has, as far as this package wrote it.
type Cluster struct {
	Size   Size
	client kubernetes.Interface
	spares atomic.Int64
}

// Open is for a cluster that Create has filled, maybe from another process.
func Open(client kubernetes.Interface, size Size) *Cluster {
	return &Cluster{Size: size, client: client}
}

// Create fills an empty API server.
func (c *Cluster) Create(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range c.Size.Services {
		group.Go(func() error {
			name := serviceName(i)
			if err := c.createService(ctx, name, ClusterIP(i)); err != nil {
				return err
			}
			return c.setSlice(ctx, slice(name, name, c.endpoints(i)))
		})
	}
	return group.Wait()
}

// endpoints are those that Service i has at first.
func (c *Cluster) endpoints(i int) []netip.Addr {
	return endpointIPs(i*c.Size.Endpoints, c.Size.Endpoints)
}

func endpointIPs(first, n int) []netip.Addr {
	all := make([]netip.Addr, n)
	for e := range all {
		all[e] = EndpointIP(first + e)
	}
	return all
}

// Replace gives Service i its first endpoints again but one, in whose place an
// address comes that never was an endpoint before. It returns that.
func (c *Cluster) Replace(ctx context.Context, i int) (netip.Addr, error) {
	endpoints := c.endpoints(i)
	fresh := SpareIP(int(c.spares.Add(1)))
	endpoints[0] = fresh
	name := serviceName(i)
	_, err := c.client.DiscoveryV1().EndpointSlices(Namespace).Update(ctx, slice(name, name, endpoints), metav1.UpdateOptions{})
	return fresh, err
}

// SetNode writes the object of the node that is measured.
func (c *Cluster) SetNode(ctx context.Context, name string, ip netip.Addr) error {
	_, err := c.client.CoreV1().Nodes().Create(ctx, node(name, ip), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// sliceSize is how many endpoints an EndpointSlice can have.
const sliceSize = 1000

// CreateLarge adds a Service with many endpoints, the n-th such, and returns where
// it is reached.
func (c *Cluster) CreateLarge(ctx context.Context, n, endpoints int) (netip.AddrPort, error) {
	name, ip := largeName(n), ClusterIP(60000+n)
	if err := c.createService(ctx, name, ip); err != nil {
		return netip.AddrPort{}, err
	}
	first := spare/2 + n*10_000
	for from := 0; from < endpoints; from += sliceSize {
		part := endpointIPs(first+from, min(sliceSize, endpoints-from))
		if err := c.setSlice(ctx, slice(name, fmt.Sprintf("%s-%d", name, from), part)); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(ip, ServicePort), nil
}

// DeleteLarge removes what CreateLarge has added.
func (c *Cluster) DeleteLarge(ctx context.Context, n int) error {
	name := largeName(n)
	selector := metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name}
	if err := c.client.DiscoveryV1().EndpointSlices(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, selector); err != nil {
		return err
	}
	err := c.client.CoreV1().Services(Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func largeName(n int) string { return fmt.Sprintf("large-%d", n) }

func (c *Cluster) createService(ctx context.Context, name string, ip netip.Addr) error {
	_, err := c.client.CoreV1().Services(Namespace).Create(ctx, service(name, ip), metav1.CreateOptions{})
	return err
}

func (c *Cluster) setSlice(ctx context.Context, s *discoveryv1.EndpointSlice) error {
	_, err := c.client.DiscoveryV1().EndpointSlices(Namespace).Create(ctx, s, metav1.CreateOptions{})
	return err
}
