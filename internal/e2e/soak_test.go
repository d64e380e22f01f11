package e2e

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// Of TestSoak; make soak sets them.
var (
	soakDuration = flag.Duration("soak.duration", 2*time.Minute, "how long TestSoak goes on, with each variant at the same time")
	soakSeed     = flag.Uint64("soak.seed", 0, "what TestSoak does, as an earlier run has printed it; 0 for something new")
)

// A soak changes objects, rules and the program's surroundings at random.
// Whenever it lets go, the kernel must come to what the objects ask for, packets
// must fare as the rules say, and the program must not have grown.
type soak struct {
	*stage
	r       *rand.Rand
	gateway *gateway
	daemon  *daemon
	// services are those there are, by name.
	services map[string]*corev1.Service
	vips     map[string][]object // of load balancers, by the Service's name
	growth   growth
	steps    map[string]int
	// ill is whether a fault is in force.
	ill bool
	// slowest is the longest it took until there was nothing left to do.
	slowest time.Duration
}

// TestSoak prints its seed. The same seed makes the same steps, at other times.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	bothVariants(t, func(t *testing.T, variant testenv.Variant) {
		t.Parallel()
		t.Logf("to do the same again: -soak.seed=%d -soak.duration=%s", seed, *soakDuration)
		s := &soak{
			stage: newStage(t, variant), r: rand.New(rand.NewPCG(seed, 1)),
			services: map[string]*corev1.Service{}, vips: map[string][]object{}, steps: map[string]int{},
		}
		s.gateway = s.startGateway()
		s.startDaemon()
		start, quiet := time.Now(), 0
		for time.Since(start) < *soakDuration {
			// No restarts in the second half, to see whether anything grows.
			mayRestart := time.Since(start) < *soakDuration/2
			for range 5 + s.r.IntN(15) {
				s.step(mayRestart)
			}
			s.letGo()
			s.check()
			quiet++
		}
		t.Logf("%d times quiet, within %v each, after %v; %s", quiet, s.slowest.Round(time.Millisecond), s.steps, s.growth)
	})
}

// startDaemon compares with the kernel each second, at which drift is repaired
// at the latest.
func (s *soak) startDaemon() {
	s.t.Helper()
	s.daemon = s.start("--iptables-sync-period=1s")
	s.growth = growth{}
}

// letGo ends all faults, and waits until there is nothing left to do.
func (s *soak) letGo() {
	s.t.Helper()
	if s.ill {
		s.gateway.set(nil)
		s.restores.fault("")
		s.ill = false
	}
	start := time.Now()
	s.daemon.awaitSync()
	s.awaitNoDiff()
	s.slowest = max(s.slowest, time.Since(start))
}

// A choice is something a soak can do, as often as its weight says.
type choice struct {
	name   string
	weight int
	do     func()
}

// step does one thing.
func (s *soak) step(mayRestart bool) {
	s.t.Helper()
	choices := []choice{
		{"create", 4, s.create},
		{"delete", 2, s.remove},
		{"change", 5, s.change},
		{"endpoints", 12, s.endpoints},
		{"drift", 4, s.drift},
		{"API fault", 2, s.failAPI},
		{"write fault", 2, s.failWrites},
	}
	if mayRestart {
		choices = append(choices, choice{"restart", 1, s.restart},
			choice{"kill", 1, func() { s.daemon.kill(); s.startDaemon() }})
	}
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	at := s.r.IntN(total)
	for _, c := range choices {
		if at -= c.weight; at < 0 {
			s.steps[c.name]++
			c.do()
			return
		}
	}
}

// restart asks the program to end as soon as it can hear that, which it shows by
// what it logs, and starts another.
func (s *soak) restart() {
	s.t.Helper()
	s.daemon.awaitLog(" ")
	s.daemon.stop()
	s.startDaemon()
}

// failAPI has the API server fail until the soak lets go.
func (s *soak) failAPI() {
	s.ill = true
	faults := []func(){
		func() { s.gateway.set(nil) }, // connections break
		func() { s.gateway.set(unavailable) },
		func() { s.gateway.set(throttled) },
		func() { s.gateway.set(silent) },
		func() { s.gateway.set(garbled) },
		func() { s.gateway.set(expired) },
		func() { s.gateway.set(empty) },
	}
	faults[s.r.IntN(len(faults))]()
}

// failWrites has some or all writes fail until the soak lets go.
func (s *soak) failWrites() {
	s.ill = true
	scripts := []string{
		`kill -KILL $$`,
		`$tool "$@" <"$input"; kill -KILL $$`,
		`ulimit -v 3000`,
		`test $(($$ % 3)) -eq 0 || kill -KILL $$`,
		`echo "line 3: RULE_APPEND failed (Cannot allocate memory)" >&2; exit 4`,
		`sleep 0.5`,
	}
	s.restores.fault(scripts[s.r.IntN(len(scripts))] + "\n")
}
