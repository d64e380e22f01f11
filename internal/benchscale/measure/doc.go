// Package measure reads what a program costs and what a packet takes: CPU time
// from a control group, memory from /proc, connections from inside of a network
// namespace, counters from a metrics page; and it summarizes samples.
//
// It decides nothing about what is measured when; package phase does.
package measure
