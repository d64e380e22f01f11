// Package sysctl owns the kernel parameters below /proc/sys that a mode needs:
// which they are, and the dataplane that sets those that are different. They are
// never set back: somebody else may rely on them by now.
package sysctl
