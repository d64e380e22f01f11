package report

import (
	"fmt"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
)

// What is between these lines of the page is written by the program.
const (
	beginMark = "<!-- results: written by make bench-scale -->\n"
	endMark   = "<!-- end of results -->\n"
)

// between puts text between the marks.
func between(page, text string) (string, error) {
	before, rest, found := strings.Cut(page, beginMark)
	_, after, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		return "", fmt.Errorf("want the lines %q and %q", strings.TrimSpace(beginMark), strings.TrimSpace(endMark))
	}
	return before + beginMark + "\n" + text + "\n" + endMark + after, nil
}

// body is everything between the marks. Plots are in the folder dir.
func (r *Results) body(dir string) string {
	if len(r.Runs) == 0 {
		return "Nothing has been measured yet.\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n\n## Targets\n\n%s\n", r.Machine, verdictTable(r.Runs))
	for _, p := range plots() {
		fmt.Fprintf(&b, "![%s](%s/%s)\n\n", p.title, dir, p.file)
	}
	for _, size := range sizes(r.Runs) {
		fmt.Fprintf(&b, "## %s Services with %d endpoints each\n\n", thousands(size.Services), size.Endpoints)
		for _, part := range ofSize(r.Runs, size) {
			fmt.Fprintf(&b, "%s\n", sizeTable(part))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// sizes are those of the runs, in their order.
func sizes(runs []*Run) []load.Size {
	var all []load.Size
	for _, run := range runs {
		if len(all) == 0 || all[len(all)-1] != run.Size {
			all = append(all, run.Size)
		}
	}
	return all
}

// ofSize are the runs of a size: those on the machine itself, and those in the
// emulated one, which compare only with each other.
func ofSize(runs []*Run, size load.Size) [][]*Run {
	var here, vm []*Run
	for _, run := range runs {
		switch {
		case run.Size != size:
		case run.VM:
			vm = append(vm, run)
		default:
			here = append(here, run)
		}
	}
	var parts [][]*Run
	for _, part := range [][]*Run{here, vm} {
		if len(part) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}
