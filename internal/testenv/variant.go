package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Variant is one of the two programs that are called iptables.
type Variant string

// The variants of iptables: over nf_tables, and over x_tables ("legacy").
const (
	VariantNFT    Variant = "nft"
	VariantLegacy Variant = "legacy"
)

// Variants are both, for tests to range over.
func Variants() []Variant { return []Variant{VariantNFT, VariantLegacy} }

// Capability is what a test must Need to use the variant.
func (v Variant) Capability() Capability {
	if v == VariantLegacy {
		return IPTablesLegacy
	}
	return IPTablesNFT
}

// PathDir makes a folder below parent whose iptables, ip6tables and their -save
// and -restore are this variant. With the folder first in PATH (see Environ) a
// process uses the variant whatever the system's default is.
func (v Variant) PathDir(parent string) (string, error) {
	program, err := v.program()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(parent, "iptables-"+string(v))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder of links to %s: %w", program, err)
	}
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-save", "-restore"} {
			link := filepath.Join(dir, tool+suffix)
			if err := os.Symlink(program, link); err != nil && !os.IsExist(err) {
				return "", fmt.Errorf("folder of links to %s: %w", program, err)
			}
		}
	}
	return dir, nil
}

// Environ is this process's environment with dir first in PATH.
func Environ(dir string) []string {
	env := []string{"PATH=" + dir + string(filepath.ListSeparator) + os.Getenv("PATH")}
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PATH=") {
			env = append(env, entry)
		}
	}
	return env
}

// program finds the program that is all tools of the variant, by the name it is
// called with.
func (v Variant) program() (string, error) {
	name := "xtables-" + string(v) + "-multi"
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("iptables variant %s: no %s in PATH or /usr/sbin; install the package iptables", v, name)
}
