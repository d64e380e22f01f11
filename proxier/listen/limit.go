package listen

import (
	"net"

	"golang.org/x/net/netutil"
)

// MaxConnections is how many connections a listener of the program has at a time;
// more of them wait in the kernel. Anybody who reaches the node can connect, and a
// process that has no file descriptor left could not run iptables either.
const MaxConnections = 256

// Limit bounds a listener to MaxConnections.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, MaxConnections) }
