package e2e

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// A configMap is a configuration file as the kubelet mounts it.
type configMap struct {
	s       *stage
	dir     string
	version int
}

func (s *stage) newConfigMap(fields string) *configMap {
	s.t.Helper()
	c := &configMap{s: s, dir: s.t.TempDir()}
	c.must(os.Symlink("..data/config.conf", c.path()))
	c.publish(fields)
	return c
}

func (c *configMap) path() string { return filepath.Join(c.dir, "config.conf") }

func (c *configMap) must(err error) {
	c.s.t.Helper()
	if err != nil {
		c.s.t.Fatal(err)
	}
}

// text is a file with these fields beside those that this network needs.
func (c *configMap) text(fields string) string {
	return fmt.Sprintf("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclientConnection: {kubeconfig: %s}\n%s\n",
		c.s.kubeconfig, fields)
}

// publish makes a new version the file, by moving the link ..data to its folder.
func (c *configMap) publish(fields string) {
	c.s.t.Helper()
	c.version++
	old, next := fmt.Sprintf("..%d", c.version-1), fmt.Sprintf("..%d", c.version)
	c.must(os.Mkdir(filepath.Join(c.dir, next), 0o700))
	c.must(os.WriteFile(filepath.Join(c.dir, next, "config.conf"), []byte(c.text(fields)), 0o600))
	c.must(os.Symlink(next, filepath.Join(c.dir, "..data_tmp")))
	c.must(os.Rename(filepath.Join(c.dir, "..data_tmp"), filepath.Join(c.dir, "..data")))
	c.must(os.RemoveAll(filepath.Join(c.dir, old)))
}

// write writes the file in place.
func (c *configMap) write(text string) {
	c.s.t.Helper()
	c.must(os.WriteFile(c.path(), []byte(text), 0o600))
}

// An asking asks one port again and again, and each answer has to be a 200.
type asking struct {
	s      *stage
	end    chan struct{}
	done   sync.WaitGroup
	port   uint16
	path   string
	count  int
	failed []string
}

func (s *stage) startAsking(port uint16, path string) *asking {
	s.expectCode(path, http.StatusOK, port, path)
	a := &asking{s: s, end: make(chan struct{}), port: port, path: path}
	a.done.Go(a.run)
	return a
}

func (a *asking) run() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-a.end:
			return
		case <-tick.C:
		}
		a.count++
		if code, body := a.s.get(a.s.Client(), a.s.node1.Addr4(), a.port, a.path); code != http.StatusOK {
			a.failed = append(a.failed, fmt.Sprintf("%s %d %s", time.Now().Format("15:04:05.000"), code, body))
		}
	}
}

func (a *asking) stop() {
	a.s.t.Helper()
	close(a.end)
	a.done.Wait()
	for _, f := range a.failed {
		a.s.t.Errorf("port %d%s: %s", a.port, a.path, f)
	}
	if a.count == 0 {
		a.s.t.Error("nobody has asked")
	}
}

// reloaded is logged when a change is in force.
const reloaded = `"The configuration has changed"`

// awaitReload waits until one more change has come into force than before.
func (d *daemon) awaitReload(before string) {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		text, more := d.log.state()
		if strings.Count(text, reloaded) > strings.Count(before, reloaded) {
			return
		}
		select {
		case <-more:
		case <-d.ended:
			d.t.Fatalf("kube-proxier ended: %v", d.err)
		case <-deadline:
			d.t.Fatalf("no change has come into force within %s", patience)
		}
	}
}

// reloadSteps are the fields of a configuration, one after the other. With rules,
// these become others; with moves, health check node ports are listened on at
// other addresses.
func reloadSteps(s *stage) []struct {
	name, fields string
	rules, moves bool
	check        func()
} {
	const base, quick = "clusterCIDR: " + clusterCIDR, "iptables: {minSyncPeriod: 100ms}"
	loopback := netip.MustParseAddr("127.0.0.1")
	answers := func(port uint16, path string, want int) func() {
		return func() {
			s.t.Helper()
			if code, body := s.get(s.node1.Host, loopback, port, path); code != want {
				s.t.Errorf("port %d%s answers %d, want %d: %s", port, path, code, want, body)
			}
		}
	}
	var within []string
	for _, addr := range s.node1.Addrs() {
		within = append(within, netip.PrefixFrom(addr, addr.BitLen()).String())
	}
	return []struct {
		name, fields string
		rules, moves bool
		check        func()
	}{
		{name: "masqueradeAll", fields: base + "\niptables: {minSyncPeriod: 100ms, masqueradeAll: true}", rules: true},
		{name: "masqueradeBit", fields: base + "\niptables: {minSyncPeriod: 100ms, masqueradeBit: 15}", rules: true},
		{name: "syncPeriod", fields: base + "\niptables: {minSyncPeriod: 200ms, syncPeriod: 2s}", rules: true},
		{name: "clusterCIDR", fields: quick + "\nclusterCIDR: 10.0.0.0/8", rules: true},
		{name: "detectLocalMode", fields: quick + "\ndetectLocalMode: NodeCIDR", rules: true},
		{name: "localhostNodePorts", fields: base + "\niptables: {minSyncPeriod: 100ms, localhostNodePorts: false}", rules: true},
		{name: "featureGates", fields: base + "\n" + quick + "\nfeatureGates: {AllowServiceExternalIPs: false}", rules: true},
		{name: "verbosity", fields: base + "\n" + quick + "\nlogging: {verbosity: 3}"},
		{
			name: "healthzBindAddress", fields: base + "\n" + quick + "\nhealthzBindAddress: 0.0.0.0:10266",
			check: func() { answers(10266, "/livez", http.StatusOK)(); answers(10256, "/livez", 0)() },
		},
		{
			name: "metricsBindAddress", fields: base + "\n" + quick + "\nmetricsBindAddress: 127.0.0.1:10259",
			check: func() {
				answers(10259, "/debug/pprof/cmdline", http.StatusNotFound)()
				answers(10249, "/proxyMode", 0)()
				answers(10256, "/livez", http.StatusOK)()
			},
		},
		{name: "enableProfiling", fields: base + "\n" + quick + "\nenableProfiling: true", check: answers(10249, "/debug/pprof/cmdline", http.StatusOK)},
		{name: "nodePortAddresses", fields: base + "\n" + quick + "\nnodePortAddresses: [" + strings.Join(within, ", ") + "]", rules: true, moves: true},
	}
}

// Each of these is a change of a running program under a stream of new
// connections, of which none fails.
func TestReloadUnderAStream(t *testing.T) {
	t.Parallel()
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		s := newStage(t, variant)
		c := s.newConfigMap("clusterCIDR: " + clusterCIDR + "\niptables: {minSyncPeriod: 100ms}")
		d := s.startWith("--config="+c.path(), "--hostname-override="+s.nodeName)
		vip, _ := freshVIPs()
		s.createService("outside", func(service *corev1.Service) { service.Spec.ExternalIPs = []string{vip.String()} })
		s.createBalanced("local")
		checked := uint16(s.patchSpec("local", object{"externalTrafficPolicy": "Local"}).Spec.HealthCheckNodePort)
		s.setEndpoints("local", s.local)
		s.setEndpoints("outside", s.local)
		steady := s.startSteady()
		check := s.startAsking(checked, "/")
		s.awaitNoConfigDiff(c.path())
		rules := s.rules()
		for i, step := range reloadSteps(s) {
			before := d.log.text()
			if step.moves {
				check.stop()
			}
			switch i % 3 {
			case 0:
				c.publish(step.fields)
			case 1:
				c.write(c.text(step.fields))
			case 2:
				c.write(c.text(step.fields))
				if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
			}
			d.awaitReload(before)
			s.awaitNoConfigDiff(c.path())
			after := s.rules()
			if step.rules && after == rules {
				t.Errorf("%s: the rules are what they were", step.name)
			}
			rules = after
			if step.check != nil {
				step.check()
			}
		}
		steady.stop("changes of the configuration")
		if strings.Contains(d.log.text(), "Somebody else changed our rules") {
			t.Error("the program took itself for somebody else")
		}
	})
}

// awaitNoConfigDiff waits until the kernel has what the file asks for.
func (s *stage) awaitNoConfigDiff(path string) {
	s.t.Helper()
	s.await("no difference", func() string {
		out, problems, status := s.command("diff", "--config="+path, "--hostname-override="+s.nodeName)
		if status == 0 {
			return ""
		}
		return fmt.Sprintf("kube-proxier diff: exit status %d: %s%s", status, out, problems)
	})
}

func TestAFileThatCannotBeUsedLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	s := newStage(t, testenv.VariantNFT)
	const good = "clusterCIDR: " + clusterCIDR
	c := s.newConfigMap(good)
	d := s.startWith("--config="+c.path(), "--hostname-override="+s.nodeName)
	steady := s.startSteady()
	s.awaitNodeEvent("Starting", "kube-proxier")
	s.awaitNoConfigDiff(c.path())
	// Not compared with the rules as they were: other tests have Services, too.
	inForce := filepath.Join(t.TempDir(), "config.conf")
	c.must(os.WriteFile(inForce, []byte(c.text(good)), 0o600))
	whole := c.text(good + "\niptables: {masqueradeAll: true}")

	for _, step := range []struct {
		name, want string
		change     func()
	}{
		{"broken YAML", "this is not YAML", func() { c.write(c.text("mode: [")) }},
		{"half a file", "kind", func() { c.write(whole[:60]) }},
		{"a wrong value", "iptables.masqueradeBit", func() { c.publish("iptables: {masqueradeBit: 99}") }},
		{"a mode that is not there", "nftables", func() { c.publish("mode: nftables") }},
		{"an empty file", "there is no document", func() { c.write("") }},
		{"a deleted file", "no such file", func() { c.must(os.Remove(c.path())) }},
	} {
		step.change()
		s.awaitConfigStatus(step.name, func(page configStatus) bool { return strings.Contains(page.Refused.Message, step.want) })
		s.expectCode(step.name, http.StatusOK, healthPort, "/healthz")
		s.awaitNoConfigDiff(inForce)
	}
	s.awaitNodeEvent("ConfigInvalid", "masqueradeBit")
	if !strings.Contains(s.metrics(), "\nkubeproxier_config_last_reload_successful 0\n") {
		t.Error("the metrics do not show that the file is refused")
	}

	before := d.log.text()
	c.must(os.WriteFile(c.path(), []byte(whole+"clientConnection: {}\n"), 0o600))
	c.write(whole)
	d.awaitReload(before)
	s.awaitNodeEvent("ConfigReloaded", "iptables.masqueradeAll: false becomes true")
	s.awaitConfigStatus("a file that is mended", func(page configStatus) bool { return page.Refused.Message == "" })
	s.awaitNoConfigDiff(c.path())

	c.write(strings.Replace(whole, "clientConnection: {", "clientConnection: {qps: 7, ", 1))
	s.awaitConfigStatus("a field that needs a restart", func(page configStatus) bool { return len(page.NeedsRestart) == 1 })
	s.awaitNodeEvent("ConfigNeedsRestart", "clientConnection.qps")
	steady.stop("files that cannot be used")
}

// configStatus is what /status says of the configuration.
type configStatus struct {
	Refused      struct{ Message string }
	NeedsRestart []string
}

func (s *stage) awaitConfigStatus(what string, ok func(configStatus) bool) {
	s.t.Helper()
	s.expectStatus(what, func(page statusPage) bool { return ok(page.Config) })
}

// awaitNodeEvent waits for an event on node1's object.
func (s *stage) awaitNodeEvent(reason, note string) {
	s.t.Helper()
	s.await("event "+reason, func() string {
		events, err := shared.client.EventsV1().Events(metav1.NamespaceDefault).List(s.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for i := range events.Items {
			e := &events.Items[i]
			if e.Regarding.Kind == "Node" && e.Regarding.Name == s.nodeName && e.Reason == reason && strings.Contains(e.Note, note) {
				return ""
			}
		}
		return fmt.Sprintf("none that says %q; have %s", note, describe(events.Items))
	})
}
