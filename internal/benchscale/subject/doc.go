// Package subject knows the programs that are measured: how each is started, what
// the modes are, and how it is seen from outside that it has caught up.
//
// All are run with the settings they are shipped with, but for what a network
// namespace does not allow (host-wide conntrack limits), and told of the cluster by
// the same flags.
package subject
