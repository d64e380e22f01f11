package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/render"
)

// chartServer is a value that the chart cannot do without, chartNeeds are all.
const (
	chartServer = "--set=apiServer=" + serverOfManifests
	chartNeeds  = chartServer + ",clusterCIDR=10.244.0.0/16"
)

func TestTheAPIServerTakesAllManifests(t *testing.T) {
	t.Parallel()
	common(t)
	for name, objects := range map[string]func(*testing.T) []*unstructured.Unstructured{
		"kustomize base": func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "kustomize/base") },
		"kustomize ipvs": func(t *testing.T) []*unstructured.Unstructured {
			return render.Kustomize(t, "kustomize/overlays/ipvs")
		},
		"kustomize kubeadm": func(t *testing.T) []*unstructured.Unstructured {
			return render.Kustomize(t, "kustomize/overlays/kubeadm")
		},
		"monitoring": func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "monitoring") },
		"chart":      func(t *testing.T) []*unstructured.Unstructured { return render.Helm(t, chartNeeds) },
		"chart ipvs": func(t *testing.T) []*unstructured.Unstructured { return render.Helm(t, chartNeeds, "--set=mode=ipvs") },
		"chart with another ConfigMap": func(t *testing.T) []*unstructured.Unstructured {
			return render.Helm(t, "--set=existingConfigMap=kube-proxy")
		},
		"chart with everything": func(t *testing.T) []*unstructured.Unstructured {
			return render.Helm(t, chartServer, "--values="+absolute(t, "testdata/values.yaml"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, object := range objects(t) {
				if object.GroupVersionKind().Group == "monitoring.coreos.com" {
					continue // which this API server does not have
				}
				if err := apply(t, object, metav1.DryRunAll); err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	absolute, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return absolute
}

// apply is kubectl apply --server-side, which refuses unknown fields.
func apply(t *testing.T, object *unstructured.Unstructured, dryRun ...string) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.kube.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := restmapper.GetAPIGroupResources(shared.client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	kind := object.GroupVersionKind()
	mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		if object.GetNamespace() != render.Namespace {
			t.Errorf("%s %s is in namespace %q", kind.Kind, object.GetName(), object.GetNamespace())
		}
		resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	_, err = resource.Apply(t.Context(), object.GetName(), object, metav1.ApplyOptions{DryRun: dryRun, FieldManager: "test"})
	return err
}

// TestDaemonSetServes runs what the manifests say, with the rights that they
// give and no others.
func TestDaemonSetServes(t *testing.T) {
	t.Parallel()
	base := func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "kustomize/base") }
	withoutLegacy := func(t *testing.T) []*unstructured.Unstructured {
		return render.Helm(t, chartNeeds, "--set=legacyIptables=false")
	}
	for _, test := range []struct {
		name    string
		variant testenv.Variant
		objects func(*testing.T) []*unstructured.Unstructured
	}{
		{"kustomize base over nft", testenv.VariantNFT, base},
		{"kustomize base over legacy", testenv.VariantLegacy, base},
		{"chart without NET_RAW over nft", testenv.VariantNFT, withoutLegacy},
		{"kubeadm's ConfigMap", testenv.VariantNFT, func(t *testing.T) []*unstructured.Unstructured {
			return append(render.Kustomize(t, "kustomize/overlays/kubeadm"), kubeadmConfigMap(t))
		}},
		{"kubeadm's DaemonSet", testenv.VariantNFT, kubeadmObjects},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, test.variant)
			dir, err := test.variant.PathDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			s.environ = testenv.Environ(dir) // the recorder writes files
			set, configMaps := s.install(test.objects(t))
			d := s.newPod(set, configMaps).run()
			d.awaitSync()
			service := s.createBalanced("web")
			s.setEndpoints("web", s.remote)
			s.expect("a ClusterIP", "remote", from(clusterIPs(service), s.everybody()...))
			s.expect("a node port", "remote", from(nodePorts(service, s.node1), s.Client()))
			s.expectCode("all is well", 200, healthPort, "/healthz")
			s.expectEvents()
			if log := d.log.text(); strings.Contains(log, "forbidden") {
				t.Errorf("the API server has forbidden something:\n%s", log)
			}
		})
	}
}

// expectEvents has the daemon write one: it cannot listen on a Service's port.
func (s *stage) expectEvents() {
	s.t.Helper()
	port := freshPort()
	if err := s.node1.Do(func() error {
		listener, err := new(net.ListenConfig).Listen(s.t.Context(), "tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			s.t.Cleanup(func() { listener.Close() })
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	s.createService("late", func(service *corev1.Service) {
		service.Spec.Type = corev1.ServiceTypeLoadBalancer
		service.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		service.Spec.HealthCheckNodePort = port
	})
	s.awaitEvent("late", "FailedToStartServiceHealthcheck", s.nodeName)
}

// install applies accounts and roles for real, and returns the
// DaemonSet and the ConfigMaps' data.
func (s *stage) install(objects []*unstructured.Unstructured) (*appsv1.DaemonSet, map[string]map[string]string) {
	s.t.Helper()
	configMaps := map[string]map[string]string{}
	for _, o := range objects {
		switch o.GetKind() {
		case "ServiceAccount", "ClusterRole", "ClusterRoleBinding":
			if err := apply(s.t, o); err != nil {
				s.t.Fatal(err)
			}
		case "ConfigMap":
			data, _, err := unstructured.NestedStringMap(o.Object, "data")
			if err != nil {
				s.t.Fatal(err)
			}
			configMaps[o.GetName()] = data
		}
	}
	return daemonSetOf(s.t, objects), configMaps
}

// kubeadmConfigMap is the one of kube-proxy as kubeadm makes it.
func kubeadmConfigMap(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{"kind": "ConfigMap", "apiVersion": "v1"}}
	object.SetName("kube-proxy")
	data := map[string]string{}
	for file, path := range map[string]string{
		"config.conf":     "../../proxier/config/testdata/kubeadm.yaml",
		"kubeconfig.conf": "testdata/kubeadm/kubeconfig.conf",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[file] = string(text)
	}
	if err := unstructured.SetNestedStringMap(object.Object, data, "data"); err != nil {
		t.Fatal(err)
	}
	return object
}

// kubeadmObjects are kube-proxy's as kubeadm makes them, with another image.
func kubeadmObjects(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile("testdata/kubeadm/daemonset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: metav1.ObjectMeta{Name: "kube-proxy", Namespace: render.Namespace},
	}
	binding := &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:node-proxier"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node-proxier"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "kube-proxy", Namespace: render.Namespace}},
	}
	objects := append(render.Parse(t, text), kubeadmConfigMap(t))
	for _, object := range []any{account, binding} {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, &unstructured.Unstructured{Object: fields})
	}
	return objects
}
