// Package testenv builds the surroundings that kube-proxier is tested in: a
// small cluster network made of throw-away network namespaces, both variants of
// iptables, and a real Kubernetes API server.
//
// It owns what it creates and nothing else: namespaces named kpx-<pid>-<n>-*,
// the processes it starts, and files below the folders it is given. Packets are
// sent inside of its namespaces and on loopback only. Close removes everything;
// what a killed process could not remove is removed by the next NewCluster.
//
// The functions return errors and need no *testing.T, so that the demo can use
// them as well. Tests use the thin wrappers over TB: Need, StartCluster.
//
// No production package imports testenv.
package testenv
