package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// goBuild builds a package into file: "build" the program, "test" the package's
// tests. Neither needs a C library, and the debugger's tables would only have to
// travel through 9p.
func goBuild(ctx context.Context, what, file, pkg string) error {
	args := []string{what, "-buildvcs=false", "-o", file, "-ldflags", "-s -w"}
	if what == "test" {
		args = append(args, "-c")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w:\n%s", strings.Join(cmd.Args, " "), err, output)
	}
	return nil
}
