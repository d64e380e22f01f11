package kerneltest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestTheOtherVariantIsWatched: a Service proxy's chains in the variant that is
// not in use are told of when they are written, and nothing else is.
func TestTheOtherVariantIsWatched(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			t.Run(string(family), func(t *testing.T) {
				k := newKernel(t, c.Node("node1").Host, variant, family)
				other := &guarded{kernel: newKernel(t, c.Node("node1").Host, otherVariant(variant), family)}
				restoring("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-OLD - [0:0]\nCOMMIT\n")(t, other) // there before
				told := watchOther(t, k)
				for _, input := range []string{
					"*nat\n:CNI-1 - [0:0]\n-A CNI-1 -p tcp -j RETURN\n-A POSTROUTING -j CNI-1\nCOMMIT\n",
					"*nat\n-X KUBE-SVC-OLD\n-X KUBE-SERVICES\nCOMMIT\n",
					"*filter\n:KUBE-FIREWALL - [0:0]\nCOMMIT\n", // the kubelet's
					"*filter\n:KUBE-FORWARD - [0:0]\n-A KUBE-FORWARD -j ACCEPT\nCOMMIT\n",
				} {
					restoring(input)(t, other)
				}
				before := rulesIn(saveAll(t, other.kernel))
				drift := received(t, told)
				if !strings.Contains(drift.What, "KUBE-FORWARD") || !strings.Contains(drift.What, "filter") || strings.Contains(drift.What, "nat") {
					t.Errorf("told first of %+v, want filter KUBE-FORWARD", drift)
				}
				if byKernel := variant == testenv.VariantLegacy; byKernel != (drift.Writer.PID != 0) {
					t.Errorf("told of %+v by whom", drift)
				}
				// A jump to such a chain counts when the chain is written again.
				restoring("*filter\n:KUBE-FORWARD - [0:0]\n-A KUBE-FORWARD -j DROP\nCOMMIT\n*nat\n:KUBE-MARK-MASQ - [0:0]\nCOMMIT\n")(t, other)
				if drift := received(t, told); !strings.Contains(drift.What, "KUBE-") {
					t.Errorf("told then of %+v", drift)
				}
				if after := rulesIn(saveAll(t, other.kernel)); len(after["filter"]) != len(before["filter"]) || len(after["filter"]["KUBE-FORWARD"]) != 1 {
					t.Errorf("the other variant's filter table was changed: %v, it was %v", after["filter"], before["filter"])
				}
			})
		}
	})
}

// TestLookingMakesNoTable: the other variant's tables come with hooks that every
// packet passes.
func TestLookingMakesNoTable(t *testing.T) {
	testenv.Need(t, testenv.IPTablesNFT, testenv.IPTablesLegacy)
	c := testenv.StartCluster(t)
	for _, family := range proxier.Families {
		k := newKernel(t, c.Node("node1").Host, testenv.VariantNFT, family)
		told := watchOther(t, k)
		other := &guarded{kernel: newKernel(t, c.Node("node1").Host, testenv.VariantLegacy, family)}
		restoring("*nat\n:KUBE-MARK-MASQ - [0:0]\nCOMMIT\n")(t, other)
		received(t, told) // so it has looked
		err := k.host.Do(func() error {
			if other.tool.MayHold(iptables.Filter) {
				return fmt.Errorf("%s: looking has made the filter table", other.tool)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func otherVariant(v testenv.Variant) testenv.Variant {
	if v == testenv.VariantNFT {
		return testenv.VariantLegacy
	}
	return testenv.VariantNFT
}

// watchOther runs the Lookout of k's tool until the test ends.
func watchOther(t *testing.T, k *kernel) <-chan proxier.Drift {
	t.Helper()
	var lookout iptables.Lookout
	err := k.host.Do(func() (err error) {
		lookout, err = iptables.NewLookout(k.tool)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told, ended := make(chan proxier.Drift, 16), make(chan struct{})
	go func() {
		defer close(ended)
		_ = lookout.Watch(ctx, func(d proxier.Drift) { told <- d })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return told
}

func received(t *testing.T, told <-chan proxier.Drift) proxier.Drift {
	t.Helper()
	select {
	case d := <-told:
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("not told within 20 s")
		return proxier.Drift{}
	}
}
