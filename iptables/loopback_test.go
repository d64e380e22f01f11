package iptables_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
)

const (
	guardRule = `! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "the network cannot reach loopback addresses" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`
	guardJump = `-m comment --comment "kubernetes firewall for loopback addresses" -j KUBE-PROXY-FIREWALL`
)

func TestGuardLoopbackOnlyAddsWhatIsMissing(t *testing.T) {
	const (
		stranger  = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
		kubeProxy = `-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`
		restrict  = "-d 203.0.113.10/32 -p tcp -j DROP"
	)
	for name, test := range map[string]struct {
		have, want string // what is in the filter table, and what is written
	}{
		"a host that was just started": {
			"", ":KUBE-PROXY-FIREWALL - [0:0]\n-A KUBE-PROXY-FIREWALL " + guardRule + "\n-I INPUT " + guardJump + "\n",
		},
		"rules of others": {
			stranger, ":KUBE-PROXY-FIREWALL - [0:0]\n-A KUBE-PROXY-FIREWALL " + guardRule + "\n-I INPUT " + guardJump + "\n",
		},
		"kube-proxy's chain of that name": {
			":KUBE-PROXY-FIREWALL - [0:0]\n-A KUBE-PROXY-FIREWALL " + restrict + "\n-A INPUT " + kubeProxy + "\n",
			"-I KUBE-PROXY-FIREWALL " + guardRule + "\n-I INPUT " + guardJump + "\n",
		},
		"the jump is missing": {
			":KUBE-PROXY-FIREWALL - [0:0]\n-A KUBE-PROXY-FIREWALL " + guardRule + "\n", "-I INPUT " + guardJump + "\n",
		},
		"those of a daemon": {
			":KUBE-PROXY-FIREWALL - [0:0]\n-A KUBE-PROXY-FIREWALL " + guardRule + "\n-A INPUT " + guardJump + "\n", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			kernel := iptablestest.New()
			kernel.Must("*filter\n" + test.have + "COMMIT\n")
			want := test.want
			if want != "" {
				want = "*filter\n" + want + "COMMIT\n"
			}
			call := strings.Join(guardLoopback(t, kernel), "")
			if d := cmp.Diff(want, call); d != "" {
				t.Fatalf("(-want +got):\n%s", d)
			}
			if again := guardLoopback(t, kernel); len(again) > 0 {
				t.Errorf("once more: %q", again)
			}
			rules := parse(t, kernel).Table(iptables.Filter)
			for line := range strings.Lines(test.have) {
				if chain, rule, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "-A "), " "); ok && line[0] == '-' && !slices.Contains(rules.Chain(chain).Rules, rule) {
					t.Errorf("%s has lost %s", chain, rule)
				}
			}
		})
	}
}

// The first pass takes the guard over: its chain as it is, and the jump, which stays
// above all others.
func TestAPassTakesOverTheLoopbackGuard(t *testing.T) {
	kernel := iptablestest.New()
	guardLoopback(t, kernel)
	d := iptables.NewDataplane(kernel, config)
	state := build(t, clustergen.Uniform(1, 1))
	if text := plan(t, d, state).String(); strings.Contains(text, ":KUBE-PROXY-FIREWALL") {
		t.Errorf("the guard is written again:\n%s", text)
	}
	apply(t, d, state)
	d.Forget()
	mustBeEmpty(t, plan(t, d, state))
	filter := parse(t, kernel).Table(iptables.Filter)
	if have := filter.Chain("KUBE-PROXY-FIREWALL").Rules; !slices.Equal(have, []string{guardRule}) {
		t.Errorf("the guard is %q", have)
	}
	if have := filter.Chain("INPUT").Rules; have[0] != guardJump || slices.Contains(have[1:], guardJump) {
		t.Errorf("INPUT is %q", have)
	}
	if again := guardLoopback(t, kernel); len(again) > 0 {
		t.Errorf("after the pass: %q", again)
	}
}

// guardLoopback writes what is missing of the guard, and returns it.
func guardLoopback(t *testing.T, kernel *iptablestest.Kernel) []string {
	t.Helper()
	patch := iptables.GuardLoopback(iptables.Observe(parse(t, kernel)))
	for _, call := range patch.Calls {
		kernel.Must(call)
	}
	return patch.Calls
}
