package main

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func TestIPVSModeOnAKernelWithoutIPVS(t *testing.T) {
	if testenv.IPVS.Check() == nil {
		t.Skip("this kernel has IPVS")
	}
	_, err := newHost(t.Context(), &config.Config{Mode: config.ModeIPVS})
	if err == nil {
		t.Fatal("the host is good enough")
	}
	for _, want := range []string{"mode ipvs: ", "load the module ip_vs", "choose mode iptables"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
