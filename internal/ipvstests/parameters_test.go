package ipvstests

import (
	"strings"
	"testing"
)

// What the configuration asks of the kernel gets there: strictARP by the init
// container, the timeouts of connections by the daemon.
func TestParametersReachTheKernel(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	const ignore, announce = "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce"
	show := func(words ...string) string {
		t.Helper()
		output, err := s.node.Command(t.Context(), words[0], words[1:]...).Output()
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return strings.Join(strings.Fields(string(output)), " ")
	}
	for _, test := range []struct{ flag, want string }{
		{"--ipvs-strict-arp=false", "0 0"},
		{"--ipvs-strict-arp", "1 2"},
	} {
		s.feed(t, "", p.file, "--init-only", "--proxy-mode=ipvs", test.flag)
		if have := show("sysctl", "-n", ignore, announce); have != test.want {
			t.Errorf("%s: %s and %s are %s, want %s", test.flag, ignore, announce, have, test.want)
		}
	}

	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	p.start(t, "--proxy-mode=ipvs", "--manifests="+dir, "--hostname-override=node1",
		"--ipvs-tcp-timeout=1001s", "--ipvs-tcpfin-timeout=102s", "--ipvs-udp-timeout=103s")
	p.awaitInForce(t)
	if have, want := show("ipvsadm", "-L", "--timeout"), "Timeout (tcp tcpfin udp): 1001 102 103"; have != want {
		t.Errorf("have %q, want %q", have, want)
	}
	p.end(t)
}

// On a node whose IPv6 is turned off, dual-stack Services are served over IPv4.
func TestANodeWithoutIPv6(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	if err := s.node.Sysctl("ipv6/conf/all/disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	p.start(t, "--proxy-mode=ipvs", "--manifests="+dir, "--hostname-override=node1")
	p.awaitInForce(t)
	bound, err := s.node.Command(t.Context(), "ip", "-o", "address", "show", "dev", "kube-ipvs0").Output()
	if err != nil || !strings.Contains(string(bound), "inet ") || strings.Contains(string(bound), "inet6 ") {
		t.Errorf("error %v, the addresses are\n%s", err, bound)
	}
	p.end(t)
	log := p.log.String()
	if !strings.Contains(log, "IPv6 is turned off on this host") || strings.Contains(log, "A pass failed") {
		t.Errorf("the log is\n%s", log)
	}
}
