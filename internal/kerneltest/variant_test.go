package kerneltest

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestProbeTouchesNothing: probing finds xt_bpf, and leaves the tables as they
// were, or not there at all.
func TestProbeTouchesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			for _, what := range []string{"empty", "in use"} {
				if what == "in use" {
					serve(t, iptables.NewDataplane(k, k.config(t, 14)), dumpState(t, family))
				}
				before := saveAll(t, k)
				if found := k.probe(t); !found.BPF {
					t.Errorf("%s: found %+v, and xt_bpf is there", k.tool, found)
				}
				if diff := cmp.Diff(rulesIn(before), rulesIn(saveAll(t, k))); diff != "" {
					t.Errorf("%s: probing changed tables that are %s:\n%s", k.tool, what, diff)
				}
			}
		}
	})
}

// TestProbeAsksConntrack: where conntrack takes TCP packets out of the window for
// valid, none is to be dropped for being invalid.
func TestProbeAsksConntrack(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		k := newKernel(t, testenv.StartCluster(t).Node("node1").Host, variant, proxier.IPv4)
		for _, c := range []struct {
			liberal     string
			dropInvalid bool
		}{{"0", true}, {"1", false}} {
			if err := k.host.Sysctl("netfilter/nf_conntrack_tcp_be_liberal", c.liberal); err != nil {
				t.Fatal(err)
			}
			if found := k.probe(t); found.DropInvalid != c.dropInvalid {
				t.Errorf("nf_conntrack_tcp_be_liberal is %s: DropInvalid is %t, want %t", c.liberal, found.DropInvalid, c.dropInvalid)
			}
		}
	})
}

// rulesIn are the chains of all tables; the comments of a save have the time.
func rulesIn(saves map[string]string) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	for table, save := range saves {
		all[table] = rulesOf(save)
	}
	return all
}

// TestFindToolFollowsTheKubelet: the variant in whose tables the kubelet has
// its hint is in use, whatever iptables is in PATH; without a hint, that one.
func TestFindToolFollowsTheKubelet(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.IPTablesNFT, testenv.IPTablesLegacy)
	const hint = "*mangle\n:%s - [0:0]\nCOMMIT\n"
	for _, inPath := range testenv.Variants() {
		dir, err := inPath.PathDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, hinted := range append(testenv.Variants(), "") {
			for _, chain := range []string{"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"} {
				t.Run(fmt.Sprintf("%s in PATH, %s in %s", inPath, chain, hinted), func(t *testing.T) {
					c := testenv.StartCluster(t)
					host := c.Node("node1").Host
					want := hinted
					for _, family := range proxier.Families {
						if hinted == "" {
							want = inPath
							continue
						}
						k := newKernel(t, host, hinted, family)
						if err := k.Restore(t.Context(), fmt.Sprintf(hint, chain)); err != nil {
							t.Fatal(err)
						}
					}
					for _, entry := range testenv.Environ(dir)[:1] {
						t.Setenv("PATH", entry[len("PATH="):])
					}
					for _, family := range proxier.Families {
						mustFind(t, host, family, want)
					}
				})
			}
		}
	}
}

func mustFind(t *testing.T, host *testenv.Host, family proxier.Family, want testenv.Variant) {
	t.Helper()
	var tool *iptables.Tool
	err := host.Do(func() (err error) {
		tool, err = iptables.FindTool(t.Context(), family)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(tool.Variant) != string(want) {
		t.Errorf("found %s, want %s", tool, want)
	}
}

// probe is what the tool finds out on the kernel's host.
func (k *kernel) probe(t *testing.T) (found iptables.Features) {
	t.Helper()
	err := k.host.Do(func() error {
		found = k.tool.Probe(t.Context())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
