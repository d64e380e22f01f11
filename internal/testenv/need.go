package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/vishvananda/netns"
)

// TB is the part of testing.TB that the wrappers use.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Context() context.Context
	TempDir() string
}

// Capability is something of the machine that not every machine has.
type Capability string

// Capabilities that tests Need.
const (
	// Root may create network namespaces.
	Root Capability = "root"
	// IPTablesNFT is an iptables over nf_tables that works in a new namespace.
	IPTablesNFT Capability = "iptables-nft"
	// IPTablesLegacy is an iptables over x_tables that works in a new namespace.
	IPTablesLegacy Capability = "iptables-legacy"
	// Conntrack is the conntrack tool.
	Conntrack Capability = "conntrack"
	// KubeAPI is etcd in PATH and a kube-apiserver built by kube/build.sh.
	KubeAPI Capability = "kube-apiserver"
	// KubeProxy is a kube-proxy built by kube/build.sh.
	KubeProxy Capability = "kube-proxy"
)

// Need skips the test where the machine lacks one of the capabilities. Under
// CI=true it fails it instead, so that no suite silently stops to run; but what
// make test-ipvs runs is skipped elsewhere.
func Need(t TB, capabilities ...Capability) {
	t.Helper()
	for _, capability := range capabilities {
		err := capability.Check()
		if err != nil && capability.leftToVM() {
			t.Skipf("needs %s: %v", capability, err)
		}
		Lacking(t, string(capability), err)
	}
}

// Lacking is Need for what is no Capability: err says why the machine does not have
// what the test needs; nil if it does.
func Lacking(t TB, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("CI=true and this test needs %s: %v", what, err)
	default:
		t.Skipf("needs %s: %v", what, err)
	}
}

// Long is for a test that takes minutes: -short leaves it out, but not under CI=true.
// Short is testing.Short(), and why says what takes so long.
func Long(t TB, short bool, why string) {
	t.Helper()
	if short {
		Lacking(t, "time", errors.New(why+": left out by -short"))
	}
}

// StartCluster is NewCluster for the length of a test.
func StartCluster(t TB) *Cluster {
	t.Helper()
	Need(t, Root)
	c, err := NewCluster()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close cluster: %v", err)
		}
	})
	return c
}

// StartKube is NewKube for the length of a test.
func StartKube(t TB) *Kube {
	t.Helper()
	Need(t, KubeAPI)
	k, err := NewKube(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close API server: %v", err)
		}
	})
	return k
}

// Check tells what is missing; nil if nothing is.
func (c Capability) Check() error {
	switch c {
	case Root:
		return inNewNamespace(func() error { return nil })
	case IPTablesNFT:
		return VariantNFT.check()
	case IPTablesLegacy:
		return VariantLegacy.check()
	case Conntrack:
		_, err := exec.LookPath("conntrack")
		return err
	case KubeAPI:
		return checkKube()
	case KubeProxy:
		return checkBuilt(KubeProxyProgram())
	case IPSet:
		return checkIPSet()
	case Dummy:
		return checkDummy()
	case IPVS:
		return checkIPVS()
	}
	return fmt.Errorf("unknown capability %q", string(c))
}

// check lists the nat tables of a namespace that has nothing in them.
func (v Variant) check() error {
	program, err := v.program()
	if err != nil {
		return err
	}
	return inNewNamespace(func() error {
		for _, tool := range []string{"iptables", "ip6tables"} {
			output, err := exec.Command(program, tool, "-w", "-t", "nat", "-S").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s %s -t nat -S: %w: %s", program, tool, err, output)
			}
		}
		return nil
	})
}

// inNewNamespace calls f in a network namespace without a name, which is gone
// when f returns.
func inNewNamespace(f func() error) error {
	return onThread(func() error {
		handle, err := netns.New()
		if err != nil {
			return fmt.Errorf("create network namespace: %w", err)
		}
		return errors.Join(f(), handle.Close())
	})
}
