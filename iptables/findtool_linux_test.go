package iptables

import (
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
