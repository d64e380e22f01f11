package ipvstests

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Where the mode cannot work the program ends at once, says why, and has written
// nothing.
func TestStartsThatAreRefused(t *testing.T) {
	s := newStage(t, nil, nil, settings{})
	p := newProgram(t, s)
	ctx, cancel := context.WithTimeout(t.Context(), deadline) // for a program that does start
	defer cancel()
	const withoutNetAdmin = "setpriv --bounding-set=-net_admin --inh-caps=-net_admin"
	cases := []struct {
		name, before, prefix, args string
		want                       string
	}{
		{name: "no permission", prefix: withoutNetAdmin, want: "CAP_NET_ADMIN"},
		{name: "a scheduler that the kernel lacks", args: "--ipvs-scheduler=nonesuch", want: `--ipvs-scheduler: "nonesuch": must be one of rr, `},
		{name: "a device of another type", before: "ip link add kube-ipvs0 type bridge", want: `network device kube-ipvs0 has type "bridge"`},
	}
	available, err := ipvs.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, scheduler := range proxier.Schedulers {
		if !slices.Contains(available, scheduler) {
			cases[1].args = "--ipvs-scheduler=" + scheduler
			cases[1].want = fmt.Sprintf("ipvs.scheduler: IPVS scheduler %q is not available on this node, which has rr", scheduler)
		}
	}
	for _, c := range cases {
		if c.before != "" {
			s.feed(t, "", "sh", "-c", c.before)
		}
		words := strings.Fields(c.prefix + " " + p.file + " --proxy-mode=ipvs --hostname-override=node1 --manifests=" + dumps + "objects.json " + c.args)
		output, err := s.node.Command(ctx, words[0], words[1:]...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), c.want) {
			t.Errorf("%s: the program ends with %v and says\n%s\nwant %q", c.name, err, output, c.want)
		}
		const show = "ipset list -n; ipvsadm -S -n; ip -o address show dev kube-ipvs0; iptables-save"
		found, _ := s.node.Command(t.Context(), "sh", "-c", show).Output() // there may be no device
		if text := string(found); strings.Contains(text, "KUBE-") || strings.Contains(text, "10.96.") {
			t.Errorf("%s: the program has written\n%s", c.name, text)
		}
	}
}
