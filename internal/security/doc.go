// Package security holds tests of what docs/security.md says of the program as a
// whole: which programs it runs and with which words, and which code may do so.
package security
