package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestATestHearsTheToolsWarning(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   bool
	}{
		"nothing to say":          {"exit 0", true},
		"the kernel lacks it":     {`echo "Warning: Extension bpf revision 0 not supported, missing kernel module?" >&2`, false},
		"the tool lacks it":       {`echo "Couldn't load match 'bpf'" >&2; exit 2`, false},
		"the tool did not answer": {"kill -9 $$", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script := "#!/bin/sh\n[ \"$1 $2\" = '--noflush --test' ] || exit 3\n" + test.script + "\n"
			if err := os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			err := (&Tool{command: "iptables"}).test(t.Context(), "*nat\nCOMMIT\n")
			if _, no := asRefusal(err); no == test.want {
				t.Errorf("refused: %t, %v", no, err)
			}
		})
	}
}

// What iptables-nft-save 1.8.9 prints, with status 0, of a table with a rule that it
// cannot show; and of one that has a base chain of somebody else besides.
func TestATableThatCannotBeShownIsAnError(t *testing.T) {
	for name, test := range map[string]struct{ output, want string }{
		"a rule of nft":                {"# Table `filter' is incompatible, use 'nft' tool.\n", "nft list table ip6 filter"},
		"a base chain of nft":          {"# Table `filter' contains incompatible base-chains, use 'nft' tool to list them.\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", ""},
		"a comment that says the same": {"*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m comment --comment \"a\n# Table `filter' is incompatible\"\nCOMMIT\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "output"), []byte(test.output), 0o644); err != nil {
				t.Fatal(err)
			}
			script := "#!/bin/sh\nexec /bin/cat " + filepath.Join(dir, "output") + "\n"
			if err := os.WriteFile(filepath.Join(dir, "ip6tables-save"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			text, err := (&Tool{Family: proxier.IPv6, command: "ip6tables"}).Save(t.Context(), Filter)
			if err == nil && (test.want != "" || text != test.output) || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%q, %v, want an error with %q", text, err, test.want)
			}
		})
	}
}

// A table with a rule of nft's may be readable again soon: the family must not be left
// out for as long as the process runs, as without permission or a kernel for it.
func TestATableThatCannotBeShownIsNotMissing(t *testing.T) {
	for message, missing := range map[string]bool{
		"iptables v1.8.9 (nf_tables): chain `FORWARD' in table `filter' is incompatible, use 'nft' tool.": false,
		"iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied":          true,
	} {
		dir := t.TempDir()
		script := "#!/bin/sh\necho \"" + strings.ReplaceAll(message, "`", "\\`") + "\" >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "iptables"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		err := (&Tool{Family: proxier.IPv4, Variant: VariantNFT, command: "iptables"}).mayRead(t.Context())
		if (err != nil) != missing {
			t.Errorf("%s: %v", message, err)
		}
	}
}
