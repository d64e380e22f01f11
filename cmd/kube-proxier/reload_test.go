package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// A reloadStage is a daemon on a host without iptables, so that no kernel is
// needed. Its file is what text says.
type reloadStage struct {
	*reloader
	t       *testing.T
	text    string
	broken  error // of reading the file
	logging config.Logging
	events  chan string
	health  netip.AddrPort
	metrics netip.AddrPort
	// parameters counts how often the node's parameters were set.
	parameters int
}

func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	return netip.MustParseAddrPort(listener.Addr().String())
}

func newReloadStage(t *testing.T) *reloadStage {
	t.Helper()
	s := &reloadStage{t: t, health: freeAddress(t), metrics: freeAddress(t)}
	s.write("")
	c, _, err := s.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	recorder := record.NewFakeRecorder(100)
	s.events = recorder.Events
	r := &resident{logger: klog.Background(), store: proxier.NewStore(), node: nodeEvents{recorder, "node"}, out: io.Discard}
	r.setNodeParameters = func(klog.Logger, *config.Config) error { s.parameters++; return nil }
	r.inForce.Store(c)
	r.healthy = newHealthService(r.logger, c, r.store, r.node, true)
	r.measured = newMetricsService(r.logger, r.inForce.Load, r.store, r.node, r.healthy)
	for _, run := range []func() error{func() error { return r.healthy.listener.Run(t.Context()) }, func() error { return r.measured.listener.Run(t.Context()) }} {
		go func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		}()
	}
	first, err := r.prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	r.adopt(first)
	s.reloader = &reloader{
		resident: r, load: s.read, current: first,
		adjustLogging: func(l config.Logging) error { s.logging = l; return nil },
		told:          newReloadReport(r, "config.conf", nil),
	}
	return s
}

// write makes this the file's fields, beside the addresses.
func (s *reloadStage) write(fields string) {
	s.text = fmt.Sprintf("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nhealthzBindAddress: %s\nmetricsBindAddress: %s\n%s\n",
		s.health, s.metrics, fields)
}

func (s *reloadStage) read(context.Context) (*config.Config, []config.Warning, error) {
	if s.broken != nil {
		return nil, nil, s.broken
	}
	return config.Load([]byte(s.text), "node")
}

// reasons are those of the events since the last call.
func (s *reloadStage) reasons() string {
	var reasons []string
	for {
		select {
		case event := <-s.events:
			reasons = append(reasons, strings.Join(strings.Fields(event)[:2], " "))
		default:
			return strings.Join(reasons, ", ")
		}
	}
}

func (s *reloadStage) expect(what, events, status string, samples ...string) {
	s.t.Helper()
	s.reload(s.t.Context())
	if got := s.reasons(); got != events {
		s.t.Errorf("%s: events %q, want %q", what, got, events)
	}
	page := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "/status", nil)
	request.RemoteAddr = "127.0.0.1:1"
	s.healthy.pages.Handler().ServeHTTP(page, request)
	_, shown, _ := strings.Cut(page.Body.String(), `"config": `)
	shown, _, _ = strings.Cut(shown, `"currentTime"`)
	if !strings.Contains(shown, status) || !strings.Contains(shown, configHash(s.inForce.Load())) || status == "" && strings.Contains(shown, "refused") {
		s.t.Errorf("%s: the status page does not hold %q and the hash: %s", what, status, shown)
	}
	text := httptest.NewRecorder()
	s.measured.Handler(metrics.Pages{}).ServeHTTP(text, httptest.NewRequest("GET", "/metrics", nil))
	for _, sample := range samples {
		if !strings.Contains(text.Body.String(), "\nkubeproxier_config_"+sample+"\n") {
			s.t.Errorf("%s: there is no sample %s", what, sample)
		}
	}
}

func TestReload(t *testing.T) {
	s := newReloadStage(t)
	const successful = "last_reload_successful "
	s.expect("nothing", "", "")

	s.write("iptables: {masqueradeAll: true}")
	s.expect("a change", "Normal ConfigReloaded", "", `reloads_total{result="applied"} 1`, successful+"1")
	if !s.inForce.Load().MasqueradeAll || s.current.config != s.inForce.Load() {
		t.Error("the change is not in force")
	}
	served := s.current
	s.write("iptables: {masqueradeAll: true}\nlogging: {verbosity: 4}")
	s.expect("what concerns no Service", "Normal ConfigReloaded", "", `reloads_total{result="applied"} 2`)
	if s.logging.Verbosity != 4 || s.current != served {
		t.Errorf("the log's verbosity is %d, or the generation is another one", s.logging.Verbosity)
	}

	s.write("mode: nonsense")
	s.expect("a wrong value", "Warning ConfigInvalid", "nonsense", `reloads_total{result="refused"} 1`, successful+"0")
	s.expect("the same again", "", "nonsense", `reloads_total{result="refused"} 1`)
	s.broken = errors.New("no such file")
	s.expect("no file", "Warning ConfigInvalid", "no such file", successful+"0")
	if !s.inForce.Load().MasqueradeAll || s.current != served {
		t.Error("what was in force is not any more")
	}
	s.broken = nil

	s.write("iptables: {masqueradeAll: true}\nlogging: {verbosity: 4}\nclientConnection: {qps: 7}")
	s.expect("what needs a restart", "Warning ConfigNeedsRestart", "clientConnection.qps: 5 becomes 7", "restart_needed_fields 1", successful+"1")
	s.expect("the same again", "", "clientConnection.qps: 5 becomes 7", "restart_needed_fields 1")
	s.write("clientConnection: {qps: 7}")
	s.expect("something else in the same file", "Normal ConfigReloaded", "clientConnection.qps: 5 becomes 7", "restart_needed_fields 1")
	if c := s.inForce.Load(); c.MasqueradeAll || c.Client.QPS != 5 {
		t.Errorf("in force is %+v", c)
	}
	s.write("")
	s.expect("the way back", "", "", "restart_needed_fields 0")
	if s.parameters != 1 {
		t.Errorf("the node's parameters were set %d times, want once at the start", s.parameters)
	}
	s.write("conntrack: {min: 7}")
	s.expect("another parameter of the node", "Normal ConfigReloaded", "")
	if s.parameters != 2 {
		t.Error("the node's parameters were not set again")
	}
}

// What has no effect changes nothing that is in force, but its writer expects it to.
func TestWarningsOfAReloadAreToldOnce(t *testing.T) {
	s := newReloadStage(t)
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	s.told.logger = log
	read := 0
	const typo, scheduler = "iptables: {minSyncPeroid: 5s}\n", "ipvs: {scheduler: lc}\n"
	for _, step := range []struct{ name, fields, want string }{
		{"nothing", "", ""},
		{"a field that nobody knows", typo, `unknown field "iptables.minSyncPeroid"`},
		{"the same", typo, ""},
		{"one of another mode", typo + scheduler, "ipvs.scheduler: is for another mode"},
		{"beside a change that counts", typo + scheduler + "clusterCIDR: 10.244.0.0/16\n", ""},
		{"beside an error", typo + scheduler + "mode: nonsense\n", ""},
		{"all mended", "", ""},
		{"a field that nobody knows again", typo, `unknown field "iptables.minSyncPeroid"`},
	} {
		s.write(step.fields)
		s.reload(t.Context())
		text := log.GetSink().(ktesting.Underlier).GetBuffer().String()
		got := text[read:]
		read = len(text)
		if told := strings.Count(got, "warning="); told > 1 || (told == 1) != (step.want != "") || !strings.Contains(got, strings.ReplaceAll(step.want, `"`, `\"`)) {
			t.Errorf("%s: logged is %q, want a warning with %q", step.name, got, step.want)
		}
	}
}

// The connection to the API server is that of the start, whatever the file that
// described it says later. What it says is nobody else's business.
func TestAnotherContentOfTheKubeconfigNeedsARestart(t *testing.T) {
	s := newReloadStage(t)
	path := filepath.Join(t.TempDir(), "kubeconfig.conf")
	fill := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const needed, one, none = "Warning ConfigNeedsRestart", "restart_needed_fields 1", "restart_needed_fields 0"
	fill("token: first")
	s.kubeconfig = readKubeconfig(path)
	s.expect("the content of the start", "", "", none)
	fill("token: second")
	s.expect("another content", needed, "clientConnection.kubeconfig: the content at the start becomes another one", one)
	s.expect("the same once more", "", "becomes another one", one)
	s.write("iptables: {masqueradeAll: true}")
	s.expect("beside a change that counts", "Normal ConfigReloaded", "becomes another one", one)
	s.write("iptables: {masqueradeAll: true}\nclientConnection: {kubeconfig: /other}")
	s.expect("another file, too", needed, `kubeconfig: \"\" becomes \"/other\"`, one)
	s.write("")
	fill("token: first")
	s.expect("as it was", "Normal ConfigReloaded", "", none)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.expect("no file", needed, "becomes one that cannot be read: open "+path, one)
}

// A pipe would be empty for whoever is to read it.
func TestAPipeIsLeftToWhoConnects(t *testing.T) {
	for _, path := range []string{"", "/dev/null", "none"} {
		if k := readKubeconfig(path); k.path != "" || len(k.changed(nil)) > 0 {
			t.Errorf("%q is followed", path)
		}
	}
}

func TestReloadMovesServersOrRefuses(t *testing.T) {
	s := newReloadStage(t)
	from, taken := s.metrics, taken(t)
	s.health = taken
	s.write("iptables: {masqueradeAll: true}\nlogging: {verbosity: 4}")
	s.expect("a taken health address", "Warning ConfigInvalid", "healthzBindAddress "+taken.String(), `reloads_total{result="refused"} 1`)
	s.health, s.metrics = freeAddress(t), taken
	s.write("iptables: {masqueradeAll: true}\nlogging: {verbosity: 4}")
	s.expect("a taken metrics address", "Warning ConfigInvalid", "metricsBindAddress "+taken.String(), `reloads_total{result="refused"} 2`)
	c := s.inForce.Load()
	if c.MasqueradeAll || s.logging.Verbosity != 0 || s.current.config != c {
		t.Errorf("something of a refused change is in force: %+v, verbosity %d", c, s.logging.Verbosity)
	}
	if s.healthy.listener.Place().Address != c.HealthzAddress || s.measured.listener.Place().Address != from {
		t.Error("a server has moved")
	}
	s.metrics = freeAddress(t)
	s.write("bindAddressHardFail: true")
	s.expect("free addresses", "Normal ConfigReloaded", "", `reloads_total{result="applied"} 1`)
	if p := s.healthy.listener.Place(); p.Address != s.health || !p.HardFail || s.measured.listener.Place().Address != s.metrics {
		t.Errorf("health is served at %+v, metrics at %+v", p, s.measured.listener.Place())
	}
}

// Parameters of the kernel are set when nothing else can be refused any more, and
// where they cannot be, the servers are where they were.
func TestARefusedReloadSetsNoParameter(t *testing.T) {
	s := newReloadStage(t)
	s.tools = []*iptables.Tool{{Family: proxier.IPv4}}
	old := s.inForce.Load()
	next := *old
	next.Mode = config.ModeIPVS
	g := s.generation(&next)
	defer g.discard()
	var names []string
	for _, p := range sysctl.IPVS(proxier.IPv4, g.host.kernel, false) {
		names = append(names, p.Path(g.host.sysctls))
	}
	values := func() string {
		var all []string
		for _, name := range names {
			value, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.TrimSpace(string(value)))
		}
		return strings.Join(all, " ")
	}
	for _, name := range names {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("0\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.host.checkRequired(s.tools); err != nil || values() != "0 0 0 0" {
		t.Errorf("to look whether they can be set makes them %s, error %v", values(), err)
	}
	next.MetricsAddress = taken(t)
	if err := s.commit(t.Context(), old, &next, g); err == nil || values() != "0 0 0 0" {
		t.Errorf("with an address that is taken the parameters are %s, error %v", values(), err)
	}
	next.MetricsAddress = freeAddress(t)
	if err := s.commit(t.Context(), old, &next, g); err != nil || values() != "1 1 1 1" {
		t.Errorf("with a free one they are %s, error %v", values(), err)
	}
	if err := errors.Join(s.moveServers(t.Context(), &next, old), os.Remove(names[0])); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(t.Context(), old, &next, g); err == nil || s.measured.listener.Place().Address != s.metrics {
		t.Errorf("without a parameter metrics are served at %s, error %v", s.measured.listener.Place().Address, err)
	}
}

func TestHealthOutlivesAReload(t *testing.T) {
	s := newReloadStage(t)
	s.healthy.health.SetTimeout(time.Nanosecond)
	s.healthy.health.Due(proxier.IPv4)
	for s.healthy.health.Healthy() { // until the clock has moved
	}
	s.write("iptables: {syncPeriod: 1ms, minSyncPeriod: 1ms}")
	s.reload(t.Context())
	s.write("iptables: {syncPeriod: 1ns, minSyncPeriod: 0s}")
	s.healthy.begin(&config.Config{SyncPeriod: time.Nanosecond})
	if s.healthy.health.Healthy() {
		t.Error("a change of the configuration has healed what waits")
	}
}

// generation is one without a Reconciler.
func (s *reloadStage) generation(c *config.Config) *generation {
	g := &generation{config: c, host: &host{config: c, sysctls: s.t.TempDir()}, stop: make(chan struct{})}
	g.life, g.cancel = context.WithCancel(s.t.Context())
	return g
}

// The addresses of other nodes count while a mode binds addresses.
func TestOtherNodesCountInIPVSMode(t *testing.T) {
	s := newReloadStage(t)
	for _, mode := range []string{config.ModeIPVS, config.ModeIPTables} {
		if err := s.current.end(); err != nil {
			t.Fatal(err)
		}
		c := *s.inForce.Load()
		c.Mode = mode
		s.current = s.generation(&c)
		s.adopt(s.current)
		if got := s.store.AwaitsOtherNodes(); got != (mode == config.ModeIPVS) {
			t.Errorf("mode %s: other nodes are awaited: %v", mode, got)
		}
	}
	if err := s.current.end(); err != nil {
		t.Error(err)
	}
}

// A timeout that the kernel refuses, be it that it has no IPVS, is told, and ends
// nothing.
func TestTimeoutsThatCannotBeSet(t *testing.T) {
	s := newReloadStage(t)
	if err := s.current.end(); err != nil {
		t.Fatal(err)
	}
	c := *s.inForce.Load()
	c.Mode, c.IPVS.TCPTimeout = config.ModeIPVS, 300*24*time.Hour // more than the file may have
	g := s.generation(&c)
	s.tools = []*iptables.Tool{{Family: proxier.IPv4}}
	s.adopt(g)
	if got := s.reasons(); got != "Warning KernelParametersNotSet" {
		t.Errorf("events %q", got)
	}
	if g.life.Err() != nil {
		t.Error("the generation has ended")
	}
	if err := g.end(); err != nil {
		t.Error(err)
	}
}

// A pass that is due is a matter of health, and of the alerts.
func TestWhoIsToldOfPassesThatAreDue(t *testing.T) {
	s := newReloadStage(t)
	s.healthy.add(proxier.IPv4)
	s.healthy.health.SetTimeout(time.Nanosecond)
	s.progress(proxier.IPv4).Due(proxier.IPv4)
	for s.healthy.health.Healthy() { // until the clock has moved
	}
	text := httptest.NewRecorder()
	s.measured.Handler(metrics.Pages{}).ServeHTTP(text, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(text.Body.String(), `last_queued_timestamp_seconds{ip_family="IPv4"}`) {
		t.Error("the metrics do not say that a pass was due")
	}
	s.dryRun = true
	if s.progress(proxier.IPv4) != nil {
		t.Error("a dry run has no health, but somebody to be told")
	}
}

// What fails because the process ends is no fault of the file.
func TestTheEndRefusesNoFile(t *testing.T) {
	s := newReloadStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.broken = errors.New("was not read to its end")
	s.reload(ctx)
	if got := s.reasons(); got != "" {
		t.Errorf("events %q", got)
	}
}

// Pipes cannot be read twice.
func TestReloadable(t *testing.T) {
	for path, want := range map[string]string{"": "", "/dev/null": "", "reload_test.go": "reload_test.go", "none": "none"} {
		if got := reloadable(path); got != want {
			t.Errorf("%q: %q, want %q", path, got, want)
		}
	}
}
