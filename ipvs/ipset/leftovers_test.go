package ipset_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/ipvs/ipset/ipsettest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// fakeRules are tables as text, or unreadable.
type fakeRules map[string]string

const unreadable = "unreadable"

func (r fakeRules) Save(_ context.Context, table string) (string, error) {
	if r[table] == unreadable {
		return "", errors.New("a rule that iptables cannot show")
	}
	return r[table], nil
}

func (r fakeRules) SaveChain(context.Context, string, string) (string, error) {
	return "", errors.New("nobody looks at a single chain here")
}

func (r fakeRules) Restore(context.Context, string) error { return nil }

// tableOf is a table with one rule.
func tableOf(table, chain, rule string) fakeRules {
	policy := "-"
	if !strings.Contains(chain, "-") {
		policy = "ACCEPT"
	}
	return fakeRules{table: fmt.Sprintf("*%s\n:%s %s [0:0]\n-A %[2]s %[4]s\nCOMMIT\n", table, chain, policy, rule)}
}

func TestRulesOfOthersAreNotDeleted(t *testing.T) {
	const use = "-p tcp -m set --match-set KUBE-IPVS-IPS dst -j DROP"
	tests := []struct {
		name, table, chain, rule string
		err                      bool
	}{
		{name: "ours", table: "filter", chain: "KUBE-SERVICES", rule: use},
		{name: "a jump of ours", table: "filter", chain: "INPUT", rule: "-m set --match-set KUBE-IPVS-IPS dst -j KUBE-SERVICES"},
		{name: "in a built-in chain", table: "filter", chain: "INPUT", rule: use, err: true},
		{name: "in a chain of the kubelet's", table: "filter", chain: "KUBE-FIREWALL", rule: use, err: true},
		{name: "in a chain that is ours in another table", table: "mangle", chain: "KUBE-SERVICES", rule: use, err: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kernel := ipsettest.New(ipset.New(ipset.Bound, ipset.BitmapPort, "", nil))
			kernel.References = func(string) uint32 { return 1 }
			want := func(context.Context, *proxier.State) ([]ipset.Set, error) {
				return []ipset.Set{ipset.New(ipset.Bound, ipset.HashIP, proxier.IPv4, nil)}, nil
			}
			plan, err := ipset.NewSets(kernel, proxier.IPv4, want, tableOf(test.table, test.chain, test.rule)).Plan(t.Context(), nil)
			if (err != nil) != test.err {
				t.Fatalf("error %v, want one: %t", err, test.err)
			}
			first := fmt.Sprintf("*%s\n-D %s %s\nCOMMIT\n", test.table, test.chain, test.rule)
			if err == nil && !strings.HasPrefix(plan.String(), first) {
				t.Errorf("plan %s\nshould begin with %s", plan, first)
			}
		})
	}
}

// What others use stays, and is no error; it is told by whom, as far as that can be
// found out.
func TestLeftoversInUseByOthersStay(t *testing.T) {
	const used = "-m set --match-set KUBE-LOOP-BACK dst,dst,src"
	tests := []struct {
		name  string
		rules fakeRules
		// references are those that our rules do not take with them.
		references uint32
		kept       string // a part of why it stays; empty if it goes
	}{
		{name: "nobody", rules: nil},
		{name: "a chain of ours", rules: tableOf("nat", "KUBE-POSTROUTING", used+" -j MASQUERADE")},
		{name: "kube-proxy's firewall", rules: tableOf("nat", "KUBE-FIREWALL", used+" -j RETURN")},
		{name: "a jump of ours", rules: tableOf("filter", "INPUT", used+" -j KUBE-SERVICES")},
		{name: "a comment", rules: tableOf("nat", "OUTPUT", `-m comment --comment "not --match-set KUBE-LOOP-BACK dst" -j ACCEPT`)},
		{
			name: "a built-in chain", rules: tableOf("nat", "OUTPUT", used+" -j ACCEPT"), references: 1,
			kept: "table nat: -A OUTPUT " + used + " -j ACCEPT",
		},
		{
			name: "a comment before it", rules: tableOf("nat", "OUTPUT", `-m comment --comment "say \"" `+used+" -j ACCEPT"), references: 1,
			kept: "table nat: -A OUTPUT -m comment",
		},
		{
			name: "the kubelet's firewall", rules: tableOf("filter", "KUBE-FIREWALL", used+" -j DROP"), references: 1,
			kept: "table filter: -A KUBE-FIREWALL ",
		},
		{name: "the raw table", rules: tableOf("raw", "PREROUTING", used+" -j NOTRACK"), references: 1, kept: "table raw: -A PREROUTING "},
		{name: "a target", rules: tableOf("mangle", "INPUT", "-j SET --add-set KUBE-LOOP-BACK src"), references: 1, kept: "table mangle: -A INPUT "},
		{name: "who is not found", references: 2, kept: "something refers to it that was not found"},
		{name: "who cannot be seen", rules: fakeRules{"mangle": unreadable}, references: 1, kept: "table mangle: a rule that iptables cannot show"},
		{name: "nobody, though not all can be seen", rules: fakeRules{"mangle": unreadable}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			kernel := ipsettest.New(
				ipset.New("KUBE-LOOP-BACK", ipset.HashIP, proxier.IPv4, nil),
				ipset.New("KUBE-LOAD-BALANCER", ipset.HashIPPort, proxier.IPv4, nil),
				ipset.New("KUBE-6-LOOP-BACK", ipset.HashIP, proxier.IPv6, nil),
				ipset.New("other", ipset.HashIP, proxier.IPv4, nil))
			kernel.References = func(set string) uint32 {
				if set == "KUBE-LOOP-BACK" {
					return test.references
				}
				return 0
			}
			d := ipset.NewLeftovers(kernel, proxier.IPv4, nil, test.rules)
			settle(t, d)
			want := []string{"KUBE-6-LOOP-BACK", "other"}
			if test.kept != "" {
				want = []string{"KUBE-6-LOOP-BACK", "KUBE-LOOP-BACK", "other"}
			}
			if have := setNames(t, kernel); !slices.Equal(have, want) {
				t.Errorf("left are %v, want %v", have, want)
			}
			kept := strings.Join(d.Kept(), "\n")
			if (kept == "") != (test.kept == "") || !strings.Contains(kept, test.kept) {
				t.Errorf("kept: %q, want %q", kept, test.kept)
			}
		})
	}
}

func setNames(t *testing.T, kernel *ipsettest.Kernel) []string {
	t.Helper()
	sets, err := kernel.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range sets {
		names = append(names, s.Name)
	}
	return names
}

// The kernel is not asked again and again to destroy what something uses, which it
// takes its time to refuse; but it is as soon as nothing does.
func TestALeftoverGoesWhenNothingUsesItAnyMore(t *testing.T) {
	kernel := ipsettest.New(ipset.New("KUBE-LOOP-BACK", ipset.HashIP, proxier.IPv4, nil))
	references, tries := uint32(1), 0
	kernel.References = func(string) uint32 { return references }
	kernel.FailDo = func(int, ipset.Op) error { tries++; return nil }
	d := ipset.NewLeftovers(kernel, proxier.IPv4, nil, nil)
	settle(t, d)
	settle(t, d)
	if tries != 1 || len(d.Kept()) != 1 {
		t.Errorf("tried %d times, kept %q; want once, and one", tries, d.Kept())
	}
	references = 0
	d.Forget()
	settle(t, d)
	if left := setNames(t, kernel); len(left) > 0 || len(d.Kept()) > 0 {
		t.Errorf("left are %v, kept %q", left, d.Kept())
	}
}
