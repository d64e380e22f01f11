// Package vm runs commands and tests in a small virtual machine whose kernel has
// what the host's may lack: IPVS with its schedulers, dummy devices, SCTP sockets.
//
// It owns the cached kernel (see Prepare), one qemu process for each Run, and a
// temporary folder beside it. Nothing survives a Run, and nothing done inside
// reaches the host:
//
//	host                                   guest: Debian's stock kernel, 2 CPUs, 2 GiB
//	/ (all mounts, read only)  --9p-->     / (an overlay: written to memory only)
//	cached modules             --9p-->     /lib/modules
//	gob stream of wire.Message <-virtio-   the program ./guest, which is /init
//	console.log                <-serial-   the kernel
//
// So a program that was built on the host is run by its own path, as root, with
// the host's tools beside it: a `go test -c` binary runs in its package's folder,
// as `go test` would run it. Only /proc, /sys, /dev and /run are the guest's own,
// so nothing that is to be seen inside may lie there (TMPDIR, a checkout). There is
// no network but what the guest makes, unless Watcher.Network asks for one.
//
// Exit statuses are messages of their own. A machine that ends without saying so
// (a panic, an oops, a timeout) is an error that shows the end of its console.
//
// Kernel tests call Need; `make test-ipvs` runs them with the command ./cmd/vm,
// directly where the host's kernel will do. Without hardware support (KVM) the
// machine takes about ten seconds to boot and everything in it takes 5 to 20 times
// as long: tests in it must not depend on how long something takes.
package vm
