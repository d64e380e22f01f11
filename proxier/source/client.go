package source

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
)

// A Client is what this program uses of the API. client-go's clientset would bring
// the types of all there is: a third of the binary, and 8 of 35 MiB of memory on a
// small node. So would its writer of events.k8s.io: events are of the core group.
type Client struct {
	Services       Resource[*corev1.ServiceList]
	EndpointSlices Resource[*discoveryv1.EndpointSliceList]
	Nodes          Resource[*corev1.NodeList]
	// Events are written only.
	Events record.EventSink
	// Version asks, once, for what every client may ask.
	Version func(context.Context) ([]byte, error)
}

// A Resource is all objects of a kind, as each typed client of client-go has them.
type Resource[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// NewClient makes a client. It does not talk to the server yet.
func NewClient(config *rest.Config) (*Client, error) {
	groups, err := connect(config, corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", config.Host, err)
	}
	core, discovery := groups[0], groups[1]
	return &Client{
		Services:       resource[corev1.ServiceList, *corev1.ServiceList]{core, "services"},
		EndpointSlices: resource[discoveryv1.EndpointSliceList, *discoveryv1.EndpointSliceList]{discovery, "endpointslices"},
		Nodes:          resource[corev1.NodeList, *corev1.NodeList]{core, "nodes"},
		Events:         eventSink{core},
		Version: func(ctx context.Context) ([]byte, error) {
			return core.Get().AbsPath("/version").MaxRetries(0).DoRaw(ctx)
		},
	}, nil
}

// newScheme knows the kinds that a Client has.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		utilruntime.Must(add(s))
	}
	return s
}

// connect makes a client for each group of the API; they share connections and the
// limit of requests.
func connect(config *rest.Config, groups ...schema.GroupVersion) ([]rest.Interface, error) {
	shared := rest.CopyConfig(config)
	shared.NegotiatedSerializer = serializer.NewCodecFactory(newScheme()).WithoutConversion()
	if shared.RateLimiter == nil && shared.QPS >= 0 {
		shared.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(cmp.Or(shared.QPS, rest.DefaultQPS), cmp.Or(shared.Burst, rest.DefaultBurst))
	}
	client, err := rest.HTTPClientFor(shared)
	if err != nil {
		return nil, err
	}
	clients := make([]rest.Interface, len(groups))
	for i, group := range groups {
		one := rest.CopyConfig(shared)
		one.GroupVersion, one.APIPath = &group, "/apis"
		if group.Group == corev1.GroupName {
			one.APIPath = "/api"
		}
		if clients[i], err = rest.RESTClientForConfigAndClient(one, client); err != nil {
			return nil, err
		}
	}
	return clients, nil
}

// A resource is the objects of a kind in all namespaces.
type resource[O any, L interface {
	*O
	runtime.Object
}] struct {
	group rest.Interface
	name  string
}

func (r resource[O, L]) request(options *metav1.ListOptions) *rest.Request {
	return r.group.Get().Resource(r.name).VersionedParams(options, metav1.ParameterCodec)
}

// List implements Resource.
func (r resource[O, L]) List(ctx context.Context, options metav1.ListOptions) (L, error) {
	list := L(new(O))
	return list, r.request(&options).Do(ctx).Into(list)
}

// Watch implements Resource.
func (r resource[O, L]) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.request(&options).Watch(ctx)
}

// An eventSink writes each event to its namespace.
type eventSink struct {
	core rest.Interface
}

// Create implements record.EventSink.
func (s eventSink) Create(e *corev1.Event) (*corev1.Event, error) {
	return written(s.core.Post().Namespace(e.Namespace).Resource("events").Body(e))
}

// Update implements record.EventSink.
func (s eventSink) Update(e *corev1.Event) (*corev1.Event, error) {
	return written(s.core.Put().Namespace(e.Namespace).Resource("events").Name(e.Name).Body(e))
}

// Patch implements record.EventSink.
func (s eventSink) Patch(e *corev1.Event, change []byte) (*corev1.Event, error) {
	return written(s.core.Patch(types.StrategicMergePatchType).Namespace(e.Namespace).Resource("events").Name(e.Name).Body(change))
}

func written(request *rest.Request) (*corev1.Event, error) {
	result := &corev1.Event{}
	return result, request.Do(context.Background()).Into(result)
}
