// Package selftest has the tests that say what package vm promises of the kernel:
// what tests of IPVS may rely on. `make test-ipvs` runs them with those tests.
package selftest
