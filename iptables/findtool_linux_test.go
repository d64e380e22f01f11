package iptables

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestVersions(t *testing.T) {
	for version, tooOld := range map[string]bool{
		"v1.4.21": true, "v1.6.0": true, "v1.6.1": true, "v1.6.2": false, "v1.8.0 (legacy)": false, "v2.0.0 (nf_tables)": false,
	} {
		dir := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\necho 'iptables %s'\n", version)
		if err := os.WriteFile(filepath.Join(dir, "iptables"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		_, err := newTool(proxier.IPv4, "iptables")
		if (err != nil) != tooOld || tooOld && !strings.Contains(err.Error(), "too old: 1.6.2 or newer is needed") {
			t.Errorf("%s: error %v, too old %t", version, err, tooOld)
		}
	}
}

// An image has nft's variant for its iptables, and a kernel may have no nf_tables.
func TestAKernelWithoutNFTablesIsServedByTheLegacyVariant(t *testing.T) {
	const without = "echo 'iptables: Failed to initialize nft: Protocol not supported' >&2; exit 1"
	for name, test := range map[string]struct {
		legacy string
		want   Variant
		err    error
	}{
		"the other variant works":     {legacy: "echo '*filter'", want: VariantLegacy},
		"the other one does not work": {legacy: "exit 3", err: ErrNoKernel},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for command, script := range map[string]string{
				"iptables": `case "$1" in --version) echo "iptables v1.8.9 (nf_tables)";; *) ` + without + ";; esac", "iptables-save": without,
				"iptables-legacy": "echo 'iptables v1.8.9 (legacy)'", "iptables-legacy-save": test.legacy,
			} {
				if err := os.WriteFile(filepath.Join(dir, command), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			tool, err := FindTool(t.Context(), proxier.IPv4)
			if !errors.Is(err, test.err) || test.err == nil && tool.Variant != test.want {
				t.Errorf("found %v, error %v; want variant %q, error %v", tool, err, test.want, test.err)
			}
		})
	}
}
