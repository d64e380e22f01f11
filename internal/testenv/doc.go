// Package testenv builds the surroundings that kube-proxier is tested in: a
// small cluster network made of throw-away network namespaces, both variants of
// iptables, and a real Kubernetes API server.
//
// It owns what it creates and nothing else: namespaces named kpx-<pid>-<n>-*,
// the processes it starts, and files below the folders it is given. Packets are
// sent inside of its namespaces and on loopback only. Close removes everything;
// what a killed process could not remove is removed by the next NewCluster.
//
// A test of packets reads like this:
//
//	c := testenv.StartCluster(t)
//	pod, err := c.Node("node2").AddPod("web")
//	_, err = pod.Serve("tcp", netip.AddrPortFrom(pod.Addr4(), 80))
//	... rules on c.Node("node1"), by Command or Do ...
//	reply, err := c.Client().Dial(ctx, "tcp", vip, testenv.DialOptions{})
//	// reply.Server is who answered, reply.Peer whom it saw, after SNAT;
//	// Outcome(reply, err) is "web", "refused", "timed out" or "unreachable".
//
// The functions return errors and need no *testing.T, so that the demo can use
// them as well. Tests use the thin wrappers over TB: Need, StartCluster,
// StartKube.
//
// No production package imports testenv.
package testenv
