package vm

import (
	"context"
	"os"
	"sync"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// RequiredEnv is set to "true" where tests that Need IPVS must not be skipped: in
// the machine, and wherever else `make test-ipvs` runs them.
const RequiredEnv = "KUBE_PROXIER_IPVS_REQUIRED"

// Schedulers are the IPVS schedulers that the machine's kernel has, by the names
// that virtual servers use. (Linux has had twos as well since 5.11; Debian leaves
// it out.)
func Schedulers() []string {
	return []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "ovf", "fo"}
}

// Modules are loaded in the machine before anything is run, so that tests need
// not be the first to ask for them. The tools load others when they need them.
func Modules() []string {
	modules := []string{
		"ip_vs", "dummy", "veth", "bridge", "sctp",
		"nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_compat",
		"ip_set", "ip_set_bitmap_port", "ip_set_list_set",
		"ip_set_hash_ip", "ip_set_hash_net", "ip_set_hash_ipport", "ip_set_hash_ipportip", "ip_set_hash_ipportnet",
		"xt_set", "xt_ipvs",
	}
	for _, scheduler := range Schedulers() {
		modules = append(modules, "ip_vs_"+scheduler)
	}
	return modules
}

// Needed tells why kernel tests of IPVS cannot run right here; empty where they
// can. It loads the kernel's modules.
func Needed() string { return needed() }

//nolint:gochecknoglobals // the answer does not change while a process runs
var needed = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	_, err := command(context.Background(), "/", "modprobe", append([]string{"-a"}, Modules()...)...)
	if _, missing := os.Stat("/proc/net/ip_vs"); missing != nil {
		return "this kernel has no IPVS"
	}
	if err != nil {
		return err.Error()
	}
	return ""
})

// Need skips a test of IPVS, dummy devices or SCTP where the kernel lacks them;
// `make test-ipvs` runs it in the machine. There, or where RequiredEnv says so,
// the test fails instead, so that it is never skipped everywhere.
func Need(t testenv.TB) {
	t.Helper()
	switch reason := Needed(); {
	case reason == "":
	case os.Getenv(RequiredEnv) == "true":
		t.Fatalf("%s=true and this test needs a kernel with IPVS: %s", RequiredEnv, reason)
	default:
		t.Skipf("needs a kernel with IPVS, `make test-ipvs` has one: %s", reason)
	}
}
