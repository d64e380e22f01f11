package iptables

import (
	"os"
	"path/filepath"
	"testing"
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
			if _, no := refused(err); no == test.want {
				t.Errorf("refused: %t, %v", no, err)
			}
		})
	}
}
