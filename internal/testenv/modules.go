package testenv

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/vishvananda/netlink"
)

// Kernel features of IPVS mode that tests Need.
const (
	// IPSet is the kernel's ip sets, and the tool ipset to look at them.
	IPSet Capability = "ipset"
	// Dummy is network devices of type dummy.
	Dummy Capability = "dummy device"
	// IPVS is virtual servers.
	IPVS Capability = "ipvs"
)

// requiredEnv is set to "true" where make test-ipvs runs tests, in a virtual
// machine whose kernel has everything.
const requiredEnv = "KUBE_PROXIER_IPVS_REQUIRED"

// leftToVM reports whether tests that need the capability may be skipped here
// under CI=true, because make test-ipvs runs them.
func (c Capability) leftToVM() bool {
	return (c == Dummy || c == IPVS) && os.Getenv(requiredEnv) != "true"
}

// checkIPVS asks for the kernel's interface to virtual servers, which makes it
// load the module where it can.
func checkIPVS() error {
	_, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		return fmt.Errorf("this kernel has no IPVS (load the module ip_vs, or run make test-ipvs): %w", err)
	}
	return nil
}

// checkIPSet makes a set of a type that rules of IPVS mode use.
func checkIPSet() error {
	if _, err := exec.LookPath("ipset"); err != nil {
		return err
	}
	return inNewNamespace(func() error {
		if err := netlink.IpsetCreate("probe", "hash:ip,port", netlink.IpsetCreateOptions{}); err != nil {
			return fmt.Errorf("create a set: %w", err)
		}
		return nil
	})
}

// checkDummy makes a dummy device.
func checkDummy() error {
	return inNewNamespace(func() error {
		err := netlink.LinkAdd(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "probe0"}})
		if err != nil {
			return fmt.Errorf("create a dummy device: %w", err)
		}
		return nil
	})
}

// InNamespace calls f in a network namespace that nobody else sees, and that is
// gone when f returns. What it does belongs there as long as it stays on its
// goroutine.
func InNamespace(f func() error) error { return inNewNamespace(f) }
