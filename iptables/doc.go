// Package iptables turns a proxier.State into rules of the nat and filter
// tables and brings the kernel's tables into that shape.
//
// Everything up to the Patch is pure: Compile makes the desired Ruleset from a
// State, ParseSave reads the kernel's, Diff compares the two chain by chain
// and yields the Patch, the text for iptables-restore(8). The Dataplane is the
// thin shell around them, and Kernel the only way to the real tables.
//
// Ownership: the chains of OwnedChain in nat and filter, and rules of built-in
// chains that jump to them. Everything else belongs to others and is neither
// changed nor reordered.
//
// docs/design.md shows a packet's way through the chains.
package iptables
