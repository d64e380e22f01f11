// Package report keeps what was measured, and makes a page of it: tables, plots,
// and which of the targets are reached.
//
// It is pure but for Read and Write: the same results give the same page.
package report
