package main

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// taken is an address that somebody else listens on.
func taken(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	address, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestAMetricsAddressThatIsTaken(t *testing.T) {
	for name, hard := range map[string]bool{"is tried again": false, "ends the daemon where told so": true} {
		t.Run(name, func(t *testing.T) {
			c := &config.Config{MetricsAddress: taken(t), BindAddressHardFail: hard}
			logged := make(chan string, 10)
			logger := funcr.New(func(_, args string) { logged <- args }, funcr.Options{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				ended <- newMetricsService(logger, func() *config.Config { return c }, proxier.NewStore(), nodeEvents{}, nil).run(ctx)
			}()
			if hard {
				if err := <-ended; err == nil || !strings.Contains(err.Error(), "metricsBindAddress "+c.MetricsAddress.String()) {
					t.Errorf("it ended with %v, want the address named", err)
				}
				return
			}
			select {
			case line := <-logged:
				if !strings.Contains(line, "metricsBindAddress "+c.MetricsAddress.String()) {
					t.Errorf("the log does not name the address: %s", line)
				}
			case err := <-ended:
				t.Fatalf("it ended: %v", err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v after it was told to", err)
			}
		})
	}
}
