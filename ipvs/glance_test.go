package ipvs_test

import (
	"context"
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
	glance := func(when string, want bool) {
		t.Helper()
		for name, look := range map[string]func(context.Context) (string, error){"Glance": d.Glance, "GlanceServices": d.GlanceServices} {
			different, err := look(t.Context())
			if err != nil || (different != "") != want {
				t.Errorf("%s, %s: %q is different, error %v; want something: %v", when, name, different, err, want)
			}
		}
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
	d.Forget()
	apply(t, d, state)
	var server string
	for line := range strings.Lines(kernel.String()) {
		if strings.HasPrefix(line, "-a ") {
			server = strings.Join(strings.Fields(line)[1:5], " ") // -a -t 10.96.0.1:80 -r 10.244.0.1:8080 -m -w 1
		}
	}
	kernel.Must("-d " + server)
	if different, err := d.Glance(t.Context()); err != nil || different == "" {
		t.Errorf("a real server deleted: %q is different, error %v", different, err)
	}
	if different, err := d.GlanceServices(t.Context()); err != nil || different != "" {
		t.Errorf("a real server deleted: GlanceServices says %q, error %v; want nothing", different, err)
	}
}
