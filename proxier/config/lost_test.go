package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLostInFile(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want []string
		err  string
	}{
		{name: "nothing", args: []string{"--cluster-cidr=10.0.0.0/8", "--conntrack-min=0", "--oom-score-adj=0", "--iptables-masquerade-bit=0", "--ipvs-drain-timeout=0s"}},
		{name: "no minimum where none is the default", args: []string{"--proxy-mode=ipvs", "--ipvs-min-sync-period=0s"}},
		{name: "health off", args: []string{"--healthz-port=0"}, want: []string{`healthzBindAddress: a file cannot say "": it means "0.0.0.0:10256" there`}},
		{name: "no minimum", args: []string{"--iptables-min-sync-period=0s"}, want: []string{`iptables.minSyncPeriod: a file cannot say "0s": it means "1s" there`}},
		{name: "zeros and nothing for the client", args: []string{"--kube-api-qps=0", "--kube-api-burst=0", "--kube-api-content-type="}, want: []string{
			`clientConnection.contentType: a file cannot say "": it means "application/vnd.kubernetes.protobuf" there`,
			`clientConnection.qps: a file cannot say 0: it means 5 there`,
			`clientConnection.burst: a file cannot say 0: it means 10 there`,
		}},
		{name: "a flag without a field", args: []string{"--master=https://192.0.2.1"}, want: []string{"--master: is not in the file: give it beside --config, too"}},
		{name: "what a file may not say", args: []string{"--iptables-sync-period=500ms", "--iptables-min-sync-period=0s"}, err: `iptables.minSyncPeriod: "1s": must not be more than`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _, err := parse(t, test.args...).Load("node")
			if err != nil {
				t.Fatal(err)
			}
			lost, err := c.LostInFile()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, lines(lost)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
