package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
)

func mustLoad(t *testing.T, file string) *Config {
	t.Helper()
	c, _, err := Load([]byte(file), "node")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEveryFieldCountsAtOnceOrSaysWhyNot changes one field after the other, so
// that a field of a newer version is not forgotten: what is in force after a
// change is what a restart would bring, or else the change says why not, and all
// is as it was.
func TestEveryFieldCountsAtOnceOrSaysWhyNot(t *testing.T) {
	others := map[string]string{"mode": "ipvs"} // the sample is refused
	restart := map[string]bool{
		"clientConnection.kubeconfig": true, "clientConnection.acceptContentTypes": true, "clientConnection.contentType": true,
		"clientConnection.qps": true, "clientConnection.burst": true, "hostnameOverride": true, "logging.format": true,
	}
	old := mustLoad(t, fileWith("", ""))
	fields(&proxyconfig.KubeProxyConfiguration{}, func(path string, _ reflect.Value) {
		t.Run(path, func(t *testing.T) {
			sample := samples[path]
			if other, ok := others[path]; ok {
				sample = other
			}
			next, _, err := Load([]byte(fileWith(path, sample)), "node")
			if err != nil {
				t.Fatalf("%s: give it a sample in others: %v", path, err)
			}
			got, changes, err := old.Succeed(next)
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) != 1 || changes[0].Field != path || changes[0].Old == changes[0].New {
				t.Fatalf("the changes are %v", changes)
			}
			want := next
			if restart[path] {
				want = old
			}
			if (changes[0].Restart != "") != restart[path] {
				t.Errorf("needs a restart because %q", changes[0].Restart)
			}
			if diff := cmp.Diff(want, got, compareConfigs); diff != "" {
				t.Errorf("in force is not what it says (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(yamlOf(t, want), yamlOf(t, got)); diff != "" {
				t.Errorf("the file in force is not what it says (-want +got):\n%s", diff)
			}
		})
	})
}

func yamlOf(t *testing.T, c *Config) string {
	t.Helper()
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSucceed(t *testing.T) {
	const own = "\n---\napiVersion: kube-proxier.io/v1alpha1\nkind: KubeProxierConfiguration\nipvs: {drainTimeout: 7s}\n"
	json := fileWith("logging.format", "json")
	for _, test := range []struct {
		name, old, next string
		want            []string // changes
		err             string
	}{
		{name: "nothing", old: fileWith("mode", "iptables"), next: fileWith("", "")},
		{name: "nothing but empty lists", old: fileWith("", ""), next: fileWith("nodePortAddresses", "[]")},
		{name: "a field of our own", old: fileWith("mode", "ipvs"), next: fileWith("mode", "ipvs") + own, want: []string{`ipvs.drainTimeout: "5m0s" becomes "7s"`}},
		{
			name: "what counts at once beside what does not", old: json, next: fileWith("clusterCIDR", "10.244.0.0/16"),
			want: []string{`logging.format: "json" becomes "text"`, `clusterCIDR: "" becomes "10.244.0.0/16"`},
		},
		{
			name: "what does not go together with what has to stay", old: json, next: fileWith("logging.vmodule", "[{filePattern: api, verbosity: 7}]"),
			want: []string{`logging.format: "json" becomes "text"`, `logging.vmodule: null becomes [{"filePattern":"api","verbosity":7}]`},
			err:  "while logging.format cannot change before a restart",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, changes, err := mustLoad(t, test.old).Succeed(mustLoad(t, test.next))
			var texts []string
			for _, change := range changes {
				texts = append(texts, change.String())
			}
			if diff := cmp.Diff(test.want, texts); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
			case err != nil:
				t.Error(err)
			case test.old == json && (got.Logging.Format != "json" || len(got.ClusterCIDRs) != 1):
				t.Errorf("in force is %+v", got)
			}
		})
	}
}

func TestTheNodesNameStays(t *testing.T) {
	old := mustLoad(t, fileWith("", ""))
	next, _, err := Load([]byte(fileWith("iptables.masqueradeAll", "true")), "renamed")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := old.Succeed(next)
	if err != nil || got.NodeName != "node" || got.NodeNameGiven || !got.MasqueradeAll {
		t.Errorf("got %+v, %v", got, err)
	}
}

// besideServing are the fields of Config that concern no Service.
var besideServing = map[string]bool{
	"Logging": true, "HealthzAddress": true, "MetricsAddress": true, "BindAddressHardFail": true, "Profiling": true,
	"ConfigSyncPeriod": true,
}

// TestServesLike changes every field of Config: a new one, unless named above,
// has to begin a generation.
func TestServesLike(t *testing.T) {
	old := mustLoad(t, fileWith("", ""))
	if !old.ServesLike(mustLoad(t, fileWith("", ""))) {
		t.Error("it does not serve like itself")
	}
	for i := range reflect.TypeFor[Config]().NumField() {
		field := reflect.TypeFor[Config]().Field(i)
		if !field.IsExported() {
			continue
		}
		t.Run(field.Name, func(t *testing.T) {
			next := *old
			change(t, reflect.ValueOf(&next).Elem().Field(i))
			if got := old.ServesLike(&next); got != besideServing[field.Name] {
				t.Errorf("it serves alike: %v, want %v", got, besideServing[field.Name])
			}
		})
	}
}

// TestWhatHasNoEffectEndsNoGeneration changes every field of kube-proxy's document
// that has none in its mode.
func TestWhatHasNoEffectEndsNoGeneration(t *testing.T) {
	old := mustLoad(t, fileWith("", ""))
	for path := range samples {
		if _, without := whyWithoutEffect(path, ModeIPTables); without && !old.ServesLike(mustLoad(t, fileWith(path, samples[path]))) {
			t.Errorf("%s: it has no effect, but does not serve alike", path)
		}
	}
}

// change gives a value another one.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("192.0.2.7")))
		return
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.7:7")))
		return
	case time.Duration:
		v.SetInt(v.Int() + int64(time.Second))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int:
		v.SetInt(v.Int() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Struct:
		change(t, v.Field(0))
	default:
		t.Fatalf("the test knows no other value of type %s", v.Type())
	}
}
