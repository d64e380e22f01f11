package sysctl_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// root is a folder like /proc/sys with these values, by name.
func root(t *testing.T, values map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range values {
		path := filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(name, ".", "/")))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDataplane(t *testing.T) {
	const (
		localnet = "net.ipv4.conf.all.route_localnet"
		forward  = "net.ipv4.ip_forward"
	)
	always := []sysctl.Parameter{{Name: forward, Want: "1", Why: "it must forward"}, {Name: "net.missing", Want: "1", Optional: true}}
	tests := []struct {
		name       string
		have       map[string]string
		parameters []sysctl.Parameter
		loopback   bool
		plan, err  string
	}{
		{name: "needed and off", have: map[string]string{localnet: "0"}, parameters: sysctl.RouteLocalnet(), loopback: true, plan: "sysctl " + localnet + "=1\n"},
		{name: "needed and on", have: map[string]string{localnet: "1"}, parameters: sysctl.RouteLocalnet(), loopback: true},
		{name: "not needed", have: map[string]string{localnet: "0"}, parameters: sysctl.RouteLocalnet()},
		{name: "needed and not there", parameters: sysctl.RouteLocalnet(), loopback: true, err: "localhostNodePorts: false"},
		{name: "neither needed nor there", parameters: sysctl.RouteLocalnet()},
		{name: "always needed, and one that may be missing", have: map[string]string{forward: "0"}, parameters: always, plan: "sysctl " + forward + "=1\n"},
		{name: "other value", have: map[string]string{forward: "2"}, parameters: always, plan: "sysctl " + forward + "=1\n"},
		{name: "always needed and not there", parameters: always, err: "it must forward"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := root(t, test.have)
			d := sysctl.New(dir, test.parameters)
			state := &proxier.State{NodePortAddresses: proxier.NodePortAddresses{Loopback: test.loopback}}
			plan, err := d.Plan(t.Context(), state)
			if (err != nil) != (test.err != "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("error %v, want one with %q", err, test.err)
			}
			if err != nil {
				return
			}
			if plan.String() != test.plan || plan.Empty() != (test.plan == "") || (plan.Diff() == "") != plan.Empty() {
				t.Fatalf("plan %q, empty %t, diff %q; want %q", plan, plan.Empty(), plan.Diff(), test.plan)
			}
			if _, err := plan.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if again, err := d.Plan(t.Context(), state); err != nil || !again.Empty() {
				t.Errorf("the next plan is not empty: %v, %v", again, err)
			}
		})
	}
}

func TestDiffShowsBothValues(t *testing.T) {
	d := sysctl.New(root(t, map[string]string{"net.a": "0"}), []sysctl.Parameter{{Name: "net.a", Want: "1"}})
	plan, err := d.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "--- kernel net.a\n+++ wanted net.a\n@@ -1 +1 @@\n-0\n+1\n"; plan.Diff() != want {
		t.Errorf("diff %q, want %q", plan.Diff(), want)
	}
}

func TestAllAreWrittenAlsoAfterOneThatCannotBe(t *testing.T) {
	dir := root(t, map[string]string{"net.a": "0", "net.b": "0"})
	parameters := []sysctl.Parameter{{Name: "net.a", Want: "1", Why: "a is needed"}, {Name: "net.b", Want: "1"}}
	plan, err := sysctl.New(dir, parameters).Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "net", "a")); err != nil {
		t.Fatal(err)
	}
	_, err = plan.Apply(t.Context())
	if err == nil || !strings.Contains(err.Error(), "net.a is 0 and cannot be set to 1") || !strings.Contains(err.Error(), "a is needed") {
		t.Errorf("error %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "net", "b")); err != nil || string(b) != "1\n" {
		t.Errorf("net.b is %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "net", "a")); err == nil {
		t.Error("a file that was not there has been created")
	}
}

// What cannot be set is found by opening it, as on a /proc/sys that is mounted
// read-only. Here a file of /sys takes its place, which not even root may write.
func TestWritable(t *testing.T) {
	dir := root(t, map[string]string{"net.a": "0"})
	parameters := []sysctl.Parameter{{Name: "net.a", Want: "1"}}
	if err := sysctl.New(dir, parameters).Writable(nil); err != nil {
		t.Errorf("what can be set is said to be unwritable: %v", err)
	}
	if a, err := os.ReadFile(filepath.Join(dir, "net", "a")); err != nil || string(a) != "0\n" {
		t.Errorf("net.a is %q now, %v", a, err)
	}
	parameters = append(parameters, sysctl.Parameter{Name: "cpus", Want: "many", Why: "they are needed", File: "/sys/devices/system/cpu/online"})
	err := sysctl.New(dir, parameters).Writable(nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be set to many") || !strings.Contains(err.Error(), "they are needed") || strings.Contains(err.Error(), "net.a") {
		t.Errorf("error %v", err)
	}
}

func TestIPVS(t *testing.T) {
	base := []string{"net.ipv4.vs.conntrack=1", "net.ipv4.vs.expire_nodest_conn=1", "net.ipv4.vs.expire_quiescent_template=1"}
	const reuse, forward = "net.ipv4.vs.conn_reuse_mode=0", "net.ipv4.ip_forward=1"
	arp := []string{"net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2"}
	tests := []struct {
		release string
		family  proxier.Family
		strict  bool
		want    []string
	}{
		{"4.0.9", proxier.IPv4, false, append(base[:3:3], forward)},
		{"4.1.0", proxier.IPv4, false, append(base[:3:3], reuse, forward)},
		{"5.8.18-generic", proxier.IPv4, false, append(base[:3:3], reuse, forward)},
		{"5.9.0", proxier.IPv4, false, append(base[:3:3], forward)},
		{"6.1.0-13-amd64", proxier.IPv4, true, append(append(base[:3:3], forward), arp...)},
		{"5.8.0", proxier.IPv6, true, append(base[:3:3], reuse)},
	}
	for _, test := range tests {
		t.Run(test.release+string(test.family), func(t *testing.T) {
			v, err := sysctl.KernelVersion(root(t, map[string]string{"kernel.osrelease": test.release}))
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, p := range sysctl.IPVS(test.family, v, test.strict) {
				have = append(have, p.Name+"="+p.Want)
				if p.Why == "" {
					t.Errorf("%s has no reason", p.Name)
				}
			}
			if d := cmp.Diff(test.want, have); d != "" {
				t.Errorf("wanted (-) and got (+) differ:\n%s", d)
			}
		})
	}
}

func TestParseVersionRefuses(t *testing.T) {
	for _, release := range []string{"", "6", "linux", "v6.1"} {
		if v, err := sysctl.ParseVersion(release); err == nil {
			t.Errorf("%q is read as %v", release, v)
		}
	}
}

func TestCheckIPv6(t *testing.T) {
	const name = "net.ipv6.conf.all.disable_ipv6"
	for want, values := range map[string]map[string]string{
		"": {name: "0"},
		"turned off on this host by sysctl net.ipv6.conf.all.disable_ipv6=1": {name: "1"},
		"the kernel has no IPv6": {"net.ipv4.ip_forward": "1"},
	} {
		err := sysctl.CheckIPv6(root(t, values))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v, want %q", values, err, want)
		}
	}
}
