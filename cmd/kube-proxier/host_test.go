package main

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func TestIPVSModeNeedsIPVS(t *testing.T) {
	_, err := newHost(t.Context(), &config.Config{Mode: config.ModeIPVS})
	if testenv.IPVS.Check() == nil {
		if err != nil && strings.Contains(err.Error(), "choose mode iptables") {
			t.Errorf("this kernel has IPVS, but: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("the host is good enough")
	}
	for _, want := range []string{"mode ipvs: ", "load the module ip_vs", "choose mode iptables"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
