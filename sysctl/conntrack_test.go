package sysctl_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

func TestConntrack(t *testing.T) {
	const most, hash = "net.netfilter.nf_conntrack_max=", "module nf_conntrack hashsize="
	tests := []struct {
		name      string
		conntrack config.Conntrack
		cpus      int
		want      []string
	}{
		{"nothing asked for", config.Conntrack{Min: 7}, 4, nil},
		{"per core", config.Conntrack{MaxPerCore: 32768, Min: 131072}, 16, []string{most + "524288", hash + "131072"}},
		{"not below the minimum", config.Conntrack{MaxPerCore: 32768, Min: 131072}, 2, []string{most + "131072", hash + "32768"}},
		{"not above a million", config.Conntrack{MaxPerCore: 32768, Min: 131072}, 512, []string{most + "1048576", hash + "262144"}},
		{"a small share and an odd minimum", config.Conntrack{MaxPerCore: 1, Min: 123456}, 4, []string{most + "123456", hash + "30864"}},
		{"the minimum may be above a million", config.Conntrack{MaxPerCore: 1, Min: 2 << 20}, 4, []string{most + "2097152", hash + "524288"}},
		{"a share that would overflow 32 bits", config.Conntrack{MaxPerCore: 1<<31 - 1}, 512, []string{most + "1048576", hash + "262144"}},
		{"timeouts", config.Conntrack{
			TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour, TCPBeLiberal: true,
			UDPTimeout: 30500 * time.Millisecond, UDPStreamTimeout: 3 * time.Minute,
		}, 4, []string{
			"net.netfilter.nf_conntrack_tcp_timeout_established=86400", "net.netfilter.nf_conntrack_tcp_timeout_close_wait=3600",
			"net.netfilter.nf_conntrack_tcp_be_liberal=1", "net.netfilter.nf_conntrack_udp_timeout=30",
			"net.netfilter.nf_conntrack_udp_timeout_stream=180",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var have []string
			for _, p := range sysctl.Conntrack(test.conntrack, test.cpus, "/sys") {
				have = append(have, p.Name+"="+p.Want)
			}
			if d := cmp.Diff(test.want, have); d != "" {
				t.Errorf("wanted (-) and got (+) differ:\n%s", d)
			}
		})
	}
}

func TestSet(t *testing.T) {
	dir := root(t, map[string]string{"net.a": "0", "net.right": "7", "net.high": "900", "net.low": "20", "net.odd": "many", "net.unlimited": "0"})
	parameters := []sysctl.Parameter{
		{Name: "net.missing", Want: "1", Why: "load the module"},
		{Name: "net.a", Want: "1"},
		{Name: "net.right", Want: "7"},
		{Name: "net.high", Want: "100", AtLeast: true},
		{Name: "net.low", Want: "100", AtLeast: true},
		{Name: "net.odd", Want: "100", AtLeast: true},
		{Name: "net.unlimited", Want: "100", AtLeast: true, ZeroIsNone: true},
		{Name: "elsewhere", Want: "5", File: filepath.Join(dir, "net", "right")},
	}
	var have []string
	for _, o := range sysctl.Set(dir, parameters) {
		if (o.Err != nil) != (o.Name == "net.missing") || o.Err != nil && !strings.Contains(o.Err.Error(), "net.missing cannot be read, and should be 1: ") {
			t.Errorf("%s: error %v", o.Name, o.Err)
		}
		have = append(have, o.Name+": "+o.Have+" to "+o.Want)
	}
	want := []string{"net.missing:  to 1", "net.a: 0 to 1", "net.low: 20 to 100", "net.odd: many to 100", "elsewhere: 7 to 5"}
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("wanted (-) and got (+) differ:\n%s", d)
	}
	for name, want := range map[string]string{"a": "1", "right": "5", "high": "900", "low": "100", "odd": "100", "unlimited": "0"} {
		if b, err := os.ReadFile(filepath.Join(dir, "net", name)); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("net.%s is %q, want %q (%v)", name, b, want, err)
		}
	}
	if again := sysctl.Set(dir, parameters[1:2]); len(again) > 0 {
		t.Errorf("set again: %v", again)
	}
}

// What the administrator set higher stays.
func TestLimitsAreNeverLowered(t *testing.T) {
	sys := t.TempDir()
	hash := filepath.Join(sys, "module/nf_conntrack/parameters/hashsize")
	if err := os.MkdirAll(filepath.Dir(hash), 0o755); err != nil {
		t.Fatal(err)
	}
	for have, want := range map[string]string{"200000": "200000", "100000": "131072", "131072": "131072"} {
		dir := root(t, map[string]string{"net.netfilter.nf_conntrack_max": have})
		if err := os.WriteFile(hash, []byte(have+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, o := range sysctl.Set(dir, sysctl.Conntrack(config.Conntrack{MaxPerCore: 1, Min: 131072}, 4, sys)) {
			if o.Err != nil {
				t.Error(o.Err)
			}
		}
		if b, err := os.ReadFile(filepath.Join(dir, "net/netfilter/nf_conntrack_max")); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("%s connections become %q, want %s (%v)", have, b, want, err)
		}
		if b, err := os.ReadFile(hash); err != nil || strings.TrimSpace(string(b)) != have {
			t.Errorf("%s buckets become %q (%v)", have, b, err)
		}
	}
}

func TestCheckWritesNothing(t *testing.T) {
	dir := root(t, map[string]string{"net.a": "0"})
	outcomes := sysctl.Check(dir, []sysctl.Parameter{{Name: "net.a", Want: "1"}})
	if len(outcomes) != 1 || outcomes[0].Have != "0" || outcomes[0].Err != nil {
		t.Errorf("got %v", outcomes)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "net", "a")); err != nil || string(b) != "0\n" {
		t.Errorf("net.a is %q, %v", b, err)
	}
}

func TestCPUs(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-3": 4, "0-3,6": 5, "1,3,5-6": 4} {
		sys := t.TempDir()
		if err := os.MkdirAll(filepath.Join(sys, "devices/system/cpu"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sys, "devices/system/cpu/online"), []byte(list+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if have := sysctl.CPUs(sys); have != want {
			t.Errorf("%s: %d CPUs, want %d", list, have, want)
		}
	}
	if have := sysctl.CPUs(t.TempDir()); have < 1 {
		t.Errorf("without a list: %d", have)
	}
}
