package selftest

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

// Both variants of iptables know sets and IPVS in the tables of a namespace.
func TestRulesMatchSetsAndVirtualServers(t *testing.T) {
	vm.Need(t)
	for _, variant := range testenv.Variants() {
		t.Run(string(variant), func(t *testing.T) {
			testenv.Need(t, variant.Capability())
			host := testenv.StartCluster(t).Client()
			dir, err := variant.PathDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			run := func(line string) string {
				t.Helper()
				fields := strings.Fields(line)
				cmd := host.Command(t.Context(), fields[0], fields[1:]...)
				cmd.Env = testenv.Environ(dir)
				output, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s: %v: %s", line, err, output)
				}
				return string(output)
			}
			for _, kind := range []string{
				"hash:ip", "hash:net", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "bitmap:port range 0-65535",
			} {
				name := strings.Fields(strings.NewReplacer(":", "-", ",", "-").Replace(kind))[0]
				run("ipset create " + name + " " + kind)
			}
			for _, rule := range []string{
				"-A POSTROUTING -m set --match-set hash-ip-port-ip dst,dst,src -j MASQUERADE",
				"-A POSTROUTING -m ipvs --vaddr 10.96.0.1 --vport 80 -j MASQUERADE",
				"-A PREROUTING -p tcp -m set --match-set bitmap-port dst -j ACCEPT",
			} {
				run("iptables -t nat " + rule)
				if saved := run("iptables-save -t nat"); !strings.Contains(saved, rule) {
					t.Errorf("rule %s is missing in:\n%s", rule, saved)
				}
			}
		})
	}
}

func TestToolsForDebuggingAreThere(t *testing.T) {
	vm.Need(t)
	for _, line := range []string{"ipvsadm -S -n", "ipset list -n", "ip -br link", "conntrack -L"} {
		fields := strings.Fields(line)
		if output, err := exec.CommandContext(t.Context(), fields[0], fields[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, output)
		}
	}
}
