package ipvs_test

import (
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestGlance(t *testing.T) {
	kernel := ipvstest.New(proxier.IPv4)
	state := build(clustergen.Uniform(3, 2), proxier.IPv4)
	d := ipvs.NewDataplane(kernel, config())
	glance := func(when string, want bool) string {
		t.Helper()
		different, err := d.Glance(t.Context())
		if err != nil || (different != "") != want {
			t.Errorf("%s: %q is different, error %v; want something: %v", when, different, err, want)
		}
		return different
	}
	glance("before the first pass", false)
	apply(t, d, state)
	glance("after a pass", false)

	line, _, _ := strings.Cut(kernel.String(), "\n")
	place := strings.Join(strings.Fields(line)[1:3], " ") // -A -t 10.96.0.3:80 -s rr
	kernel.Must("-D " + place)
	glance("a virtual server deleted", true)
	d.Forget()
	apply(t, d, state)
	glance("repaired", false)
	kernel.Must("-E " + place + " -s lc")
	glance("another scheduler", true)
}
