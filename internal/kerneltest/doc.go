// Package kerneltest loads our rules into the real kernel and sends real
// packets through them.
//
// Other packages test what the program decides; this one tests that the kernel
// and the iptables tools understand it the same way. It owns nothing but tests,
// each over both variants of iptables and both IP families where it makes a
// difference:
//
//   - rules: every scenario's rules load, come back byte for byte, and need no
//     second pass;
//   - packets: what the scenarios' packet tables promise is what happens
//     between network namespaces (see stage);
//   - takeover: kube-proxy's own rules turn into ours under traffic;
//   - firewall: all that, beside rules and policies of the host's own;
//   - restart, refusal, lock, hairpin, affinity, distribution, variant.
//
// Everything happens in network namespaces of package testenv. The tests need
// root and both variants of iptables; they skip where these are missing and
// fail there under CI=true.
package kerneltest
