package ipvs

import (
	"fmt"
	"time"

	mobyipvs "github.com/moby/ipvs"
)

// Timeouts are after how long without a packet the kernel forgets a connection;
// 0 leaves a timeout as it is.
type Timeouts struct {
	TCP, TCPFin, UDP time.Duration
}

// SetTimeouts sets the timeouts of the network namespace. They hold for both
// families. Nothing is written where they are set already; changed tells.
func (n *Netlink) SetTimeouts(want Timeouts) (changed bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	have, err := n.handle.GetConfig()
	if err != nil {
		return false, fmt.Errorf("read IPVS timeouts: %w", err)
	}
	same := func(want, have time.Duration) bool { return want == 0 || want == have }
	if same(want.TCP, have.TimeoutTCP) && same(want.TCPFin, have.TimeoutTCPFin) && same(want.UDP, have.TimeoutUDP) {
		return false, nil
	}
	err = n.handle.SetConfig(&mobyipvs.Config{TimeoutTCP: want.TCP, TimeoutTCPFin: want.TCPFin, TimeoutUDP: want.UDP})
	if err != nil {
		return false, fmt.Errorf("set IPVS timeouts: %w", err)
	}
	return true, nil
}
