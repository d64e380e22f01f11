package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kube-proxier/kube-proxier/internal/testenv/render"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// TestProbesAskWhereIsServed: with a probe at another port than that of the
// configuration no pod is ever ready, and a PodMonitor finds nothing there.
func TestProbesAskWhereIsServed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		objects         func(*testing.T) []*unstructured.Unstructured
		health, metrics uint16
	}{
		"kustomize base": {func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "kustomize/base") }, 10256, 10249},
		"kustomize ipvs": {func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "kustomize/overlays/ipvs") }, 10256, 10249},
		"chart":          {chart(chartNeeds), 10256, 10249},
		"other addresses": {
			chart(chartNeeds, "--set=config.healthzBindAddress=0.0.0.0:7001,config.metricsBindAddress=[::]:7002,metrics.bindAddress=0.0.0.0:7003"), 7001, 7002,
		},
		"addresses without a port": {
			chart(chartNeeds, "--set=config.healthzBindAddress=::,metrics.bindAddress=0.0.0.0"), 10256, 10249,
		},
		"metrics only":      {chart(chartNeeds, "--set=metrics.bindAddress=0.0.0.0:7003"), 10256, 7003},
		"another ConfigMap": {chart("--set=existingConfigMap=kube-proxy,config.healthzBindAddress=[::]:7001"), 7001, 10249},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := test.objects(t)
			health, metrics := containerPorts(t, objects)
			if health != test.health || metrics != test.metrics {
				t.Errorf("health is asked for at port %d, want %d, metrics at %d, want %d", health, test.health, metrics, test.metrics)
			}
			if c := configOf(t, objects); c != nil && (c.HealthzAddress.Port() != health || c.MetricsAddress.Port() != metrics) {
				t.Errorf("health is served at %s, asked for at port %d; metrics at %s, asked for at %d", c.HealthzAddress, health, c.MetricsAddress, metrics)
			}
		})
	}
}

// chart renders it with these arguments.
func chart(args ...string) func(*testing.T) []*unstructured.Unstructured {
	return func(t *testing.T) []*unstructured.Unstructured { return render.Helm(t, args...) }
}

// containerPorts are those of the DaemonSet that its probes and the PodMonitor
// name.
func containerPorts(t *testing.T, objects []*unstructured.Unstructured) (health, metrics uint16) {
	t.Helper()
	container := daemonSetOf(t, objects).Spec.Template.Spec.Containers[0]
	for what, probe := range map[string]*corev1.Probe{"liveness": container.LivenessProbe, "readiness": container.ReadinessProbe} {
		if port := probe.HTTPGet.Port.StrVal; port != "healthz" {
			t.Errorf("the %s probe asks at port %q", what, port)
		}
	}
	for _, port := range container.Ports {
		switch port.Name {
		case "healthz":
			health = uint16(port.ContainerPort)
		case "metrics":
			metrics = uint16(port.ContainerPort)
		}
	}
	return health, metrics
}

func daemonSetOf(t *testing.T, objects []*unstructured.Unstructured) *appsv1.DaemonSet {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" {
			continue
		}
		set := &appsv1.DaemonSet{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	t.Fatal("there is no DaemonSet")
	return nil
}

// forgets is how long a container has to run until the kubelet forgets its
// earlier restarts; those of one that is restarted more often are put off more
// and more, for up to 5 minutes:
// https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
const forgets = 10 * time.Minute

// A fault that lasts makes a pod not ready, for a rollout to stop there; what the
// pod can do it goes on doing.
func TestAFaultThatLastsIsNoCrashLoop(t *testing.T) {
	t.Parallel()
	for name, objects := range map[string]func(*testing.T) []*unstructured.Unstructured{
		"kustomize base": func(t *testing.T) []*unstructured.Unstructured { return render.Kustomize(t, "kustomize/base") },
		"chart":          chart(chartNeeds),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expectPatience(t, daemonSetOf(t, objects(t)))
		})
	}
}

func expectPatience(t *testing.T, set *appsv1.DaemonSet) {
	t.Helper()
	container := set.Spec.Template.Spec.Containers[0]
	if probe := container.ReadinessProbe; probe == nil || probe.HTTPGet.Path != "/healthz" {
		t.Errorf("the readiness probe is %v", probe)
	}
	probe := container.LivenessProbe
	if probe == nil {
		return
	}
	if patience := time.Duration(probe.PeriodSeconds*probe.FailureThreshold) * time.Second; probe.HTTPGet.Path != "/livez" || patience <= forgets {
		t.Errorf("after %s of failures, less than %s, the liveness probe restarts the container: %v", patience, forgets, probe)
	}
}

// configOf is the configuration in the rendered ConfigMap; nil without one.
func configOf(t *testing.T, objects []*unstructured.Unstructured) *config.Config {
	t.Helper()
	for _, o := range objects {
		file, found, err := unstructured.NestedString(o.Object, "data", "config.conf")
		if err != nil || !found {
			continue
		}
		c, _, err := config.Load([]byte(file), "node")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return nil
}

// TestPodsAreReplacedForAnotherAPIServer, and for nothing that they follow by
// themselves.
func TestPodsAreReplacedForAnotherAPIServer(t *testing.T) {
	t.Parallel()
	template := func(args ...string) any {
		t.Helper()
		for _, o := range render.Helm(t, args...) {
			if o.GetKind() == "DaemonSet" {
				template, _, err := unstructured.NestedMap(o.Object, "spec", "template")
				if err != nil {
					t.Fatal(err)
				}
				return template
			}
		}
		t.Fatal("there is no DaemonSet")
		return nil
	}
	first := template(chartNeeds)
	for args, same := range map[string]bool{
		chartServer + ",clusterCIDR=10.1.0.0/16,config.iptables.masqueradeAll=true": true,
		"--set=apiServer=https://other.example:6443,clusterCIDR=10.244.0.0/16":      false,
	} {
		if diff := cmp.Diff(first, template(args)); (diff == "") != same {
			t.Errorf("%s: the pods are the same: %v, want %v: %s", args, !same, same, diff)
		}
	}
	if diff := cmp.Diff(template("--set=existingConfigMap=one,podAnnotations.a=b"), template("--set=existingConfigMap=one,podAnnotations.a=b,apiServer=https://other.example:6443")); diff != "" {
		t.Errorf("another API server than that of the existing ConfigMap counts: %s", diff)
	}
}

func TestChartRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"config.healthzBindAddress=127.0.0.1:10256":                                "config.healthzBindAddress 127.0.0.1:10256",
		"config.healthzBindAddress=::1":                                            "config.healthzBindAddress ::1",
		"config.healthzBindAddress=[::1]:10256":                                    "config.healthzBindAddress [::1]:10256",
		"metrics.podMonitor.enabled=true":                                          "metrics.bindAddress 127.0.0.1:10249",
		"metrics.podMonitor.enabled=true,config.metricsBindAddress=127.0.0.1:7002": "metrics.bindAddress 127.0.0.1:7002",
		"mode=ipvs,legacyIptables=false":                                           "legacyIptables: false: mode ipvs needs CAP_NET_RAW",
		"config.mode=ipvs,legacyIptables=false":                                    "legacyIptables: false: mode ipvs needs CAP_NET_RAW",
		"clusterCIDR=":                                                             "clusterCIDR is needed: the addresses of all pods",
		"clusterCIDR=,config.detectLocalMode=ClusterCIDR":                          "clusterCIDR is needed: the addresses of all pods",
		"clusterCIDR=10.244.0.0":                                                   "clusterCIDR",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			if _, err := render.HelmOutput(t, chartNeeds, "--set="+args); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the chart says %v, want %q", err, want)
			}
		})
	}
}

// The chart does not guess where pods are: with a wrong range they count as
// clients from outside, and nobody is told.
func TestChartTakesPodsFromWhereTheyAreSaidToBe(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		`clusterCIDR=10.1.0.0/16\,fd00::/56`:                                             "ClusterCIDR [10.1.0.0/16 fd00::/56]",
		"config.clusterCIDR=10.2.0.0/16":                                                 "ClusterCIDR [10.2.0.0/16]",
		"clusterCIDR=10.1.0.0/16,config.clusterCIDR=10.2.0.0/16":                         "ClusterCIDR [10.2.0.0/16]",
		"config.detectLocalMode=NodeCIDR":                                                "NodeCIDR []",
		"config.detectLocalMode=,config.clusterCIDR=10.2.0.0/16":                         "ClusterCIDR [10.2.0.0/16]",
		"config.detectLocalMode=BridgeInterface,config.detectLocal.bridgeInterface=cni0": "BridgeInterface []",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			c := configOf(t, render.Helm(t, chartServer, "--set="+args))
			if have := fmt.Sprintf("%s %v", c.LocalPodsMode, c.ClusterCIDRs); have != want {
				t.Errorf("the configuration says %s, want %s", have, want)
			}
		})
	}
}
