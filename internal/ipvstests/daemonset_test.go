package ipvstests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

const daemonSetFile = "../../deploy/kustomize/base/daemonset.yaml"

// withoutSysctls runs a command with /proc/sys read-only, as it is in a container
// that is not privileged.
var withoutSysctls = []string{"unshare", "-m", "sh", "-ec", "mount --make-rprivate /\nmount --bind /proc/sys /proc/sys\nmount -o remount,bind,ro /proc/sys\nexec \"$@\"", "sh"}

// The DaemonSet's containers have what IPVS mode needs: to start, to change to it and
// back live, and to repair what others do.
func TestTheDaemonSetsPrivilegesSuffice(t *testing.T) {
	containers := daemonSet(t).Spec.Template.Spec
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	p := newProgram(t, s)
	dir := t.TempDir()
	writeFile(t, dir, "web.yaml", s.webManifest())
	configure := func(mode string) { writeFile(t, dir, "config.conf", fmt.Sprintf(liveConfiguration, mode)) }
	args := []string{"--config=" + filepath.Join(dir, "config.conf"), "--manifests=" + filepath.Join(dir, "web.yaml"), "--hostname-override=node1"}
	if init := containers.InitContainers[0].SecurityContext; init.Privileged == nil || !*init.Privileged {
		t.Fatal("the init container is not privileged: this test runs it with everything")
	}
	initialize := func() { s.feed(t, "", p.file, append([]string{"--init-only"}, args...)...) }
	configure("iptables")
	initialize()
	p.within = append(withoutSysctls, testenv.Privileges(containers.Containers[0].SecurityContext)...)
	// Without CAP_SYS_ADMIN schedulers are tried here; a process that was killed meanwhile
	// has left this.
	s.feed(t, "", "ipvsadm", "-A", "-t", "198.51.100.1:1", "-s", "rr")
	p.start(t, args...)
	p.awaitInForce(t)
	// The init container does not run again when the mode changes live.
	const refusal = "net.ipv4.vs.conntrack is 0 and cannot be set to 1"
	configure("ipvs")
	p.await(t, func() string {
		if strings.Contains(p.log.String(), refusal) {
			return ""
		}
		return "the change of the mode is not refused"
	})
	initialize()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.awaitInForce(t)
	for _, mode := range []string{"iptables", "ipvs"} {
		configure(mode)
		p.awaitInForce(t)
	}
	for line := range strings.Lines(p.log.String()) {
		if strings.HasPrefix(line, "E") && !strings.Contains(line, "The configuration file is refused") {
			t.Errorf("an error in the log: %s", line)
		}
	}
	for i, m := range mischiefs() { // some of which make a pass fail
		p.repairs(t, m, proxier.Families[i%2])
		p.awaitInForce(t)
	}
	if servers, err := s.node.Command(t.Context(), "ipvsadm", "-S", "-n").Output(); err != nil || strings.Contains(string(servers), "198.51.100.1") {
		t.Errorf("error %v, the virtual servers are\n%s", err, servers)
	}
	stop := s.stream(t, s.webDials())
	t.Logf("%d new connections", stop())
	p.end(t)
}

func daemonSet(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	text, err := os.ReadFile(daemonSetFile)
	if err != nil {
		t.Fatal(err)
	}
	set := &appsv1.DaemonSet{}
	if err := yaml.UnmarshalStrict(text, set); err != nil {
		t.Fatalf("%s: %v", daemonSetFile, err)
	}
	return set
}
