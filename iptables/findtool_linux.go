package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// FindTool finds the tool of the variant that is in use on this host: the one
// in whose tables the kubelet has left its hint, else the one called iptables
// in PATH, unless the kernel has only what the other one needs.
func FindTool(ctx context.Context, family proxier.Family) (*Tool, error) {
	t, err := newTool(family, baseCommand(family))
	if err != nil {
		return nil, err
	}
	if !t.hinted(ctx) {
		if other, err := t.OtherVariant(); err == nil && other.hinted(ctx) {
			t = other
		}
	}
	if err = t.mayRead(ctx); errors.Is(err, ErrNoKernel) {
		if other, missing := t.OtherVariant(); missing == nil && other.mayRead(ctx) == nil {
			return other, nil
		}
	}
	return t, err
}

func baseCommand(family proxier.Family) string {
	if family == proxier.IPv6 {
		return "ip6tables"
	}
	return "iptables"
}

// OtherVariant is the tool of the variant that is not in use; an error when it
// is not installed.
func (t *Tool) OtherVariant() (*Tool, error) {
	return newTool(t.Family, baseCommand(t.Family)+"-"+string(t.Variant.Other()))
}

func newTool(family proxier.Family, command string) (*Tool, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("%s is not in PATH: install iptables 1.8 or newer: %w", command, err)
	}
	protocol := goiptables.ProtocolIPv4
	if family == proxier.IPv6 {
		protocol = goiptables.ProtocolIPv6
	}
	probe, err := goiptables.New(goiptables.IPFamily(protocol), goiptables.Path(path))
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", command, err)
	}
	major, minor, patch := probe.GetIptablesVersion()
	t := &Tool{
		Family: family, Version: fmt.Sprintf("%d.%d.%d", major, minor, patch),
		command: command,
	}
	if slices.Compare([]int{major, minor, patch}, []int{1, 6, 2}) < 0 {
		return nil, fmt.Errorf("%s is version %s, too old: 1.6.2 or newer is needed, for iptables-restore --wait and MASQUERADE --random-fully", command, t.Version)
	}
	if t.Variant, err = variantOf(path); err != nil {
		return nil, err
	}
	if t.Variant == VariantLegacy {
		t.tables = &tablesLock{}
	}
	return t, nil
}

// variantOf asks for the version, which ends in "(nf_tables)" or "(legacy)"
// since iptables 1.8; before, there was only what is called legacy now.
func variantOf(path string) (Variant, error) {
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", path, err)
	}
	if bytes.Contains(out, []byte("nf_tables")) {
		return VariantNFT, nil
	}
	return VariantLegacy, nil
}

// hinted reports whether the kubelet uses this variant (KEP-3178).
func (t *Tool) hinted(ctx context.Context) bool {
	if !t.MayHold(Mangle) {
		return false
	}
	for _, chain := range []string{"KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"} {
		if text, err := t.glance(ctx, Mangle, chain); err == nil && strings.Contains(text, chain) {
			return true
		}
	}
	return false
}

// glance reads a table as far as it takes to see a chain. The nft variant's save
// takes as long for a small table as for all there are, since the kernel goes
// through the rules of every one: half a second at 10,000 Services. The legacy
// variant reads one table, and without the lock that listing a chain needs.
func (t *Tool) glance(ctx context.Context, table, chain string) (string, error) {
	if t.Variant == VariantLegacy {
		return t.Save(ctx, table)
	}
	return t.SaveChain(ctx, table, chain)
}

// mayRead says at once when a permission is missing. The filter table is as good
// for that as nat, which may hold a hundred thousand rules.
func (t *Tool) mayRead(ctx context.Context) error {
	_, err := t.glance(ctx, Filter, "FORWARD")
	if err == nil || strings.Contains(err.Error(), "is incompatible") {
		return nil // what nft has written there may go; passes say so until then
	}
	hint := "is the kernel built with netfilter?"
	if s := err.Error(); strings.Contains(s, "ermission") || strings.Contains(s, "not permitted") {
		hint = "root or CAP_NET_ADMIN and CAP_NET_RAW are needed"
	}
	return fmt.Errorf("cannot read the %s filter table: %w (%s)", t.Family, err, hint)
}
