package proxier

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A Store holds the latest objects from a source and hands out Snapshots.
// Objects given to it must not be changed afterwards. It is safe for
// concurrent use.
type Store struct {
	mu       sync.Mutex
	services map[types.NamespacedName]*ServiceObjects
	sliceOf  map[types.NamespacedName]types.NamespacedName // slice -> its Service
	node     *corev1.Node
	nodeGone bool // node was deleted since

	otherNodes map[string][]netip.Addr // by name
	interest   otherNodesInterest
	others     *OtherNodes // of the last Snapshot; nil to make it anew

	synced   bool
	sorted   []*ServiceObjects
	unsorted map[types.NamespacedName]bool // changed since sorted was made
	watchers []chan struct{}
	changes  Changes
}

// NewStore returns an empty store, which has not synced yet.
func NewStore() *Store {
	return &Store{
		services: map[types.NamespacedName]*ServiceObjects{},
		sliceOf:  map[types.NamespacedName]types.NamespacedName{},

		otherNodes: map[string][]netip.Addr{},
		unsorted:   map[types.NamespacedName]bool{},
	}
}

// Watch returns a channel that receives after a change, once for any number of
// changes that were not received yet. Nothing is sent before the store has
// synced.
func (s *Store) Watch() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := make(chan struct{}, 1)
	s.watchers = append(s.watchers, c)
	if s.synced {
		c <- struct{}{}
	}
	return c
}

// Unwatch ends what Watch began: c receives nothing new.
func (s *Store) Unwatch(c <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = slices.DeleteFunc(s.watchers, func(w chan struct{}) bool { return w == c })
}

// SetSynced says that all objects that existed at the start are in the store.
func (s *Store) SetSynced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.synced {
		s.synced = true
		s.notify()
	}
}

// Synced reports whether SetSynced was called.
func (s *Store) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
}

// Changes are those since the store was made.
func (s *Store) Changes() Changes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// notify wakes the watchers; s.mu is held.
func (s *Store) notify() {
	if !s.synced {
		return
	}
	for _, c := range s.watchers {
		select {
		case c <- struct{}{}:
		default: // it has a wake-up waiting
		}
	}
}

// Snapshot returns what the store holds now.
func (s *Store) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsorted) > 0 {
		s.sorted = s.mergeChanged()
		clear(s.unsorted)
	}
	return &Snapshot{Services: s.sorted, Node: s.node, OtherNodes: s.snapshotOthers(), Changes: s.changes}
}

// mergeChanged is s.sorted with the names in s.unsorted brought up to date.
func (s *Store) mergeChanged() []*ServiceObjects {
	changed := slices.SortedFunc(maps.Keys(s.unsorted), CompareNames)
	merged := make([]*ServiceObjects, 0, len(s.services))
	old := s.sorted
	for _, name := range changed {
		i, found := slices.BinarySearchFunc(old, name, func(o *ServiceObjects, name types.NamespacedName) int {
			return CompareNames(o.Name, name)
		})
		merged = append(merged, old[:i]...)
		if found {
			i++
		}
		old = old[i:]
		if o := s.services[name]; o != nil {
			merged = append(merged, o)
		}
	}
	return append(merged, old...)
}

// SetService adds or replaces a Service.
func (s *Store) SetService(service *corev1.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.update(nameOf(service), func(o *ServiceObjects) bool {
		if o.Service != nil && sameService(o.Service, service) {
			return false
		}
		o.Service = service
		return true
	})
	if changed {
		s.changes.Services++
	}
}

// DeleteService removes a Service; its slices stay until they are deleted.
func (s *Store) DeleteService(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deleted := s.update(name, func(o *ServiceObjects) bool {
		had := o.Service != nil
		o.Service = nil
		return had
	})
	if deleted {
		s.changes.Services++
	}
}

// SetEndpointSlice adds or replaces a slice. One without the label
// kubernetes.io/service-name belongs to no Service and counts as deleted.
func (s *Store) SetEndpointSlice(slice *discoveryv1.EndpointSlice) {
	read := readSlice(slice)
	s.mu.Lock()
	defer s.mu.Unlock()
	name := nameOf(slice)
	service := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
	if was, known := s.sliceOf[name]; known && was != service {
		s.deleteSlice(name)
	}
	if service.Name == "" {
		return
	}
	s.sliceOf[name] = service
	s.putSlice(service, read)
}

// putSlice adds or replaces a slice of a Service; s.mu is held. A new Trigger alone
// makes no difference to what is served, and is told nevertheless: from it until the
// next pass is what the programming latency is.
func (s *Store) putSlice(service types.NamespacedName, slice *EndpointSlice) {
	served := true // whether it makes a difference to what is
	changed := s.update(service, func(o *ServiceObjects) bool {
		i, found := slices.BinarySearchFunc(o.Slices, slice.Name, compareSlice)
		if !found {
			o.Slices = slices.Insert(slices.Clone(o.Slices), i, slice)
			return true
		}
		have := o.Slices[i]
		served = !have.sameServed(slice)
		if !served && (slice.Trigger.IsZero() || slice.Trigger.Equal(have.Trigger)) {
			return false
		}
		o.Slices = slices.Clone(o.Slices)
		o.Slices[i] = slice
		return true
	})
	if changed && served {
		s.changes.Endpoints++
	}
}

// DeleteEndpointSlice removes a slice.
func (s *Store) DeleteEndpointSlice(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteSlice(name)
}

func (s *Store) deleteSlice(name types.NamespacedName) {
	service, known := s.sliceOf[name]
	if !known {
		return
	}
	delete(s.sliceOf, name)
	deleted := s.update(service, func(o *ServiceObjects) bool {
		i, found := slices.BinarySearchFunc(o.Slices, name.Name, compareSlice)
		if found {
			o.Slices = slices.Delete(slices.Clone(o.Slices), i, i+1)
		}
		return found
	})
	if deleted {
		s.changes.Endpoints++
	}
}

// update replaces the objects of one Service by a copy, if change says that it has
// changed that, and reports whether it has; s.mu is held.
func (s *Store) update(name types.NamespacedName, change func(*ServiceObjects) bool) bool {
	next := ServiceObjects{Name: name}
	if have := s.services[name]; have != nil {
		next = *have
	}
	if !change(&next) {
		return false
	}
	if next.Service == nil && len(next.Slices) == 0 {
		delete(s.services, name)
	} else {
		s.services[name] = &next
	}
	s.unsorted[name] = true
	s.notify()
	return true
}

// SetNode sets this node's object. Of a family in which it has no address, the last
// ones known stay in force: an object that is made anew has none at first, and the
// node has not lost them.
func (s *Store) SetNode(node *corev1.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node = withAddressesOf(s.node, node)
	same := s.node != nil && sameNode(s.node, node)
	s.node, s.nodeGone = node, false
	if !same {
		s.notify()
	}
}

// DeleteNode says that this node's object is gone. The last one stays in force,
// for the node still has its addresses; only Eligibility tells.
func (s *Store) DeleteNode() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodeGone = true
}

// sameService and sameNode compare what matters here, so that
// changes of other fields cause no pass.
func sameService(a, b *corev1.Service) bool {
	_, otherA := a.Labels[ServiceProxyNameLabel]
	_, otherB := b.Labels[ServiceProxyNameLabel]
	return otherA == otherB && a.Annotations[SchedulerAnnotation] == b.Annotations[SchedulerAnnotation] && a.CreationTimestamp.Equal(&b.CreationTimestamp) &&
		reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status.LoadBalancer, b.Status.LoadBalancer)
}

func sameNode(a, b *corev1.Node) bool {
	return NodeFacts("", a, netip.Addr{}).equal(NodeFacts("", b, netip.Addr{}))
}

type named interface {
	GetNamespace() string
	GetName() string
}

func nameOf(o named) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func compareSlice(s *EndpointSlice, name string) int {
	return strings.Compare(s.Name, name)
}
