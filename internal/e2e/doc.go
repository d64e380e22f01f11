// Package e2e runs the program as it runs on a node: a process of its own in a
// node's network namespace, told by a real kube-apiserver what to do, writing
// to the real kernel, and judged by what becomes of packets.
//
// Other packages test what is decided and that the kernel understands it; this
// one tests what only the whole can get wrong: what arrives from the API server
// and when, what a process does before it knows everything, what is left when it
// is killed, and that traffic never pays for any of that. It owns nothing but
// tests:
//
//   - lifecycle, endpoints, policy, selection, refusal: objects change through
//     the API, and the packets follow;
//   - start, interruption, restart: the API server is away, watches break, the
//     program is killed; connections of an untouched Service never fail;
//   - reload: the configuration file changes under a stream of connections;
//   - kill, writefaults, apifaults: it is killed at each write, writes fail for
//     many reasons, the API server is ill;
//   - rounds: one version takes over from another, again and again;
//   - soak: all of that at random, for as long as -soak.duration says;
//   - drift, dryrun: the commands that only look, and repair.
//
// All tests share one API server, each has a network, a Node object and a
// namespace of its own. What all of them see (a restart of the API server,
// whether nothing at all is written) is tested before the others run in
// parallel. The tests need root, iptables, etcd and the API server built by
// internal/testenv/kube/build.sh; they skip where something is missing and fail
// there under CI=true.
package e2e
