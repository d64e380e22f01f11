package config

import (
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// FuzzFlags: no command line, an argument on each line, makes reading it panic, and
// one that is taken gives a Config that is written as a file and read back to the
// same, or that says what is lost.
func FuzzFlags(f *testing.F) {
	standard := parseAny(nil)
	for flag, path := range standard.fields {
		if sample, ok := samples[path]; ok {
			f.Add("--" + flag + "=" + sample)
		}
		f.Add("--" + flag + "=")
	}
	for flag, sample := range flagSamples {
		f.Add("--" + flag + "=" + sample)
	}
	f.Add("--iptables-min-sync-period=0s\n--kube-api-qps=0\n--master=https://x")
	f.Add("--iptables-min-sync-period=0s\n--iptables-sync-period=1ms")
	f.Add("--healthz-port=0\n--metrics-port=-1\n--bind_address=::")
	f.Add("--proxy-mode\nipvs\n--ipvs-scheduler=mh\n--feature-gates=A=true,A=false,=\n-v=99999999999")
	f.Add("--feature-gates=\x00=true")
	f.Add("--cluster-cidr=10.0.0.0/8,,::/0\n--nodeport-addresses=primary,::1\n--")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "config") || !utf8.ValidString(line) { // would read files; YAML cannot say it
			return
		}
		flags := parseAny(strings.Split(line, "\n"))
		if flags == nil {
			return
		}
		c, warnings, err := flags.Load("node")
		for _, w := range lines(warnings) {
			if strings.ContainsAny(w, "\n\x00") {
				t.Errorf("warning of several lines: %q", w)
			}
		}
		if err != nil {
			return
		}
		written, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		lost, err := c.LostInFile()
		if err != nil && c.MinSyncPeriod == 0 {
			return // a file's default would be more than syncPeriod
		}
		if err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, written)
		}
		again, _, err := Load(written, "node")
		if err != nil {
			t.Fatal(err)
		}
		again.NodeName, again.NodeNameGiven = c.NodeName, c.NodeNameGiven // not all names are the file's
		if len(lost) > 0 {
			return
		}
		if diff := cmp.Diff(c, again, compareConfigs); diff != "" {
			t.Error(diff)
		}
	})
}

// parseAny reads flags; nil if they are none.
func parseAny(args []string) *Flags {
	set := pflag.NewFlagSet("fuzz", pflag.ContinueOnError)
	set.SetNormalizeFunc(NormalizeFlag)
	set.SetOutput(io.Discard)
	f := NewFlags(set)
	if set.Parse(args) != nil {
		return nil
	}
	return f
}
