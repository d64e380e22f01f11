package source

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// A reflection brings the objects of one kind from the server to where they
// are kept. It is what a client-go Reflector writes to, and remembers names
// only: an informer would keep each object a second time.
//
// It needs no tombstones: after a gap in the watch the Reflector hands over
// all objects there are, and what is not among them is deleted by its name.
type reflection[T object] struct {
	source cache.ListerWatcher
	strip  func(T)
	set    func(T)
	remove func(types.NamespacedName)

	names map[types.NamespacedName]bool
	// synced is closed when all objects that existed at the start were set.
	synced chan struct{}
}

type object interface {
	metav1.Object
	runtime.Object
}

func newReflection[T object](source cache.ListerWatcher, strip, set func(T), remove func(types.NamespacedName)) *reflection[T] {
	return &reflection[T]{
		source: source, strip: strip, set: set, remove: remove,
		names:  map[types.NamespacedName]bool{},
		synced: make(chan struct{}),
	}
}

// run follows the server until ctx ends.
func (r *reflection[T]) run(ctx context.Context) {
	var kind T // nil: only its type is looked at
	name := fmt.Sprintf("%T", kind)
	cache.NewReflectorWithOptions(r.source, kind, r, cache.ReflectorOptions{Name: name}).RunWithContext(ctx)
}

// A Reflector calls the following methods one at a time.

// Add is called for a new object.
func (r *reflection[T]) Add(o any) error {
	return r.put(o)
}

// Update is called for a changed object.
func (r *reflection[T]) Update(o any) error {
	return r.put(o)
}

func (r *reflection[T]) put(o any) error {
	object, ok := o.(T)
	if !ok {
		return r.unexpected(o)
	}
	r.strip(object)
	r.names[nameOf(object)] = true
	r.set(object)
	return nil
}

// Delete is called for an object that is gone or that a selector no longer
// lets through.
func (r *reflection[T]) Delete(o any) error {
	object, ok := o.(T)
	if !ok {
		return r.unexpected(o)
	}
	delete(r.names, nameOf(object))
	r.remove(nameOf(object))
	return nil
}

// Replace is called with all objects, at the start and after a gap.
func (r *reflection[T]) Replace(all []any, _ string) error {
	gone := r.names
	r.names = make(map[types.NamespacedName]bool, len(all))
	for _, o := range all {
		if err := r.put(o); err != nil {
			return err
		}
	}
	for name := range gone {
		if !r.names[name] {
			r.remove(name)
		}
	}
	done(r.synced)
	return nil
}

// Resync has nothing to do: whoever reads the store keeps at it until it is
// done.
func (r *reflection[T]) Resync() error {
	return nil
}

// Transformer strips objects as soon as they arrive during a first listing,
// so that the unstripped ones are never all in memory.
func (r *reflection[T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) {
		if object, ok := o.(T); ok {
			r.strip(object)
		}
		return o, nil
	}
}

func (r *reflection[T]) unexpected(o any) error {
	var kind T
	return fmt.Errorf("the API server sent a %T where %T is expected", o, kind)
}

// done closes c, unless it is closed.
func done(c chan struct{}) {
	if !isClosed(c) {
		close(c)
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// listWatch lists and watches a resource with the selectors of options. How requests
// for this kind end goes to contact.
func listWatch[L runtime.Object](contact *Contact, kind string, r Resource[L], options metav1.ListOptions) cache.ListerWatcher {
	withSelectors := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector, o.FieldSelector = options.LabelSelector, options.FieldSelector
		return o
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := r.List(ctx, withSelectors(o))
			err = listable(list, err)
			contact.note(ctx, kind, err)
			if err != nil {
				return nil, err
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := r.Watch(ctx, withSelectors(o))
			contact.note(ctx, kind, err)
			return w, err
		},
	}, r)
}

// isList refuses what is no answer of an API server: client-go takes any object
// of another kind for an empty list, and an empty list means that everything is
// gone. Each list of an API server has a resource version.
func isList(list runtime.Object) error {
	m, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	if m.GetResourceVersion() == "" {
		return fmt.Errorf("the answer is no list: it has no resourceVersion")
	}
	return nil
}
