package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckIPv6 tells why there is no IPv6 in the network namespace of this thread; nil
// where there is, or it cannot be found out. ip6tables works all the same there,
// but no device takes an address.
func CheckIPv6(root string) error {
	const name = "net.ipv6.conf.all.disable_ipv6"
	value, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(strings.ReplaceAll(name, ".", "/"))))
	switch off := strings.TrimSpace(string(value)); {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the kernel has no IPv6, or was started without it")
	case err == nil && off != "0":
		return fmt.Errorf("IPv6 is turned off on this host by sysctl %s=%s", name, off)
	}
	return nil
}
