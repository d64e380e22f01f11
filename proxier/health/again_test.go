package health

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/listen"
)

// Nobody listens in the bubble: who waits for a connection keeps its clock from
// going on.
func TestChecksTryAgainWithoutAPass(t *testing.T) {
	elsewhere := []netip.Addr{netip.MustParseAddr("192.0.2.1")} // not of this host
	synctest.Test(t, func(t *testing.T) {
		var have []netip.Addr
		looks, failures := 0, 0
		c := &Checks{
			Family: proxier.IPv4, Healthy: func() bool { return true },
			Failed:    func(*corev1.Service, uint16, error) { failures++ },
			Addresses: func() ([]netip.Addr, error) { looks++; return have, nil },
		}
		defer c.Close()
		become := func(addresses []netip.Addr) {
			c.mu.Lock() // which is held when c asks and tells
			defer c.mu.Unlock()
			have = addresses
		}
		expect := func(when string, wantLooks, wantFailures int) {
			t.Helper()
			c.mu.Lock()
			defer c.mu.Unlock()
			if looks != wantLooks || failures != wantFailures {
				t.Errorf("%s: looked for addresses %d times and failed %d times, want %d and %d", when, looks, failures, wantLooks, wantFailures)
			}
		}
		web, within := balanced{"web", 31000, 1}, []string{"192.0.2.0/24"}
		c.Sync(stateOf(t, within, web), nil)
		expect("no address is within the ranges", 1, 0)
		pass(lookAgain - time.Nanosecond)
		expect("before the time", 1, 0)
		become(elsewhere)
		pass(time.Nanosecond)
		expect("the host has an address that cannot be listened on", 2, 1)
		pass(listen.Retry - time.Nanosecond)
		expect("before another attempt", 2, 1)
		pass(time.Nanosecond)
		expect("another attempt, whose failure is not told again", 3, 1)
		// A pass makes an attempt itself, and moves the next one.
		pass(listen.Retry - time.Second)
		c.Sync(stateOf(t, within, web), nil)
		expect("a pass", 4, 1)
		pass(listen.Retry - time.Second)
		expect("before the next attempt", 4, 1)
		become(nil)
		pass(time.Second)
		expect("the address is gone", 5, 1)
		if page := c.page(); len(page) != 1 || page[0].Error != "" {
			t.Errorf("the status has %+v, want a port without an error", page)
		}
		pass(lookAgain - time.Nanosecond)
		expect("with nothing wrong", 5, 1)
		become(elsewhere)
		pass(time.Nanosecond)
		expect("it comes back", 6, 2)
		c.Sync(stateOf(t, within), nil)
		pass(time.Hour)
		expect("without a Service", 7, 2)
	})
}

func TestChecksAreQuietWhereNothingCanChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		c := &Checks{Family: proxier.IPv4, Addresses: func() ([]netip.Addr, error) { looks++; return nil, nil }}
		c.Sync(stateOf(t, []string{"192.0.2.0/24"}, balanced{"web", 31000, 1}), nil)
		c.Close()
		pass(time.Hour)
		c.Sync(stateOf(t, []string{"192.0.2.0/24"}, balanced{"web", 31000, 1}), nil)
		pass(time.Hour)
		if looks != 1 {
			t.Errorf("looked for addresses %d times, want once, before the end", looks)
		}
	})
	c, port := newChecks(t), freePort(t)
	c.Sync(stateOf(t, nil, balanced{"web", port, 1}), nil)
	if c.timer != nil {
		t.Error("there is to be another attempt, though all is served everywhere")
	}
}

func TestAnotherAttemptServesWhatCanBe(t *testing.T) {
	taken, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c, port := newChecks(t), uint16(taken.Addr().(*net.TCPAddr).Port)
	c.Failed = func(*corev1.Service, uint16, error) {}
	c.Sync(stateOf(t, nil, balanced{"web", port, 2}), nil)
	taken.Close()
	c.again()
	expect(t, "127.0.0.1", port, "200 2")
}
