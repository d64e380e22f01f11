package testenv

import (
	"fmt"
	"os/exec"

	"github.com/vishvananda/netlink"
)

// Kernel features of IPVS mode that tests Need.
const (
	// IPSet is the kernel's ip sets, and the tool ipset to look at them.
	IPSet Capability = "ipset"
	// Dummy is network devices of type dummy.
	Dummy Capability = "dummy device"
)

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
