package ipset_test

import (
	"os"
	"testing"
)

// readDump is what kube-proxy in IPVS mode leaves behind.
func readDump(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../testdata/dumps/kube-proxy-ipvs.ipset")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
