package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Results are all runs there are, the latest of each kind and size.
type Results struct {
	Machine string `json:"machine"` // on which the latest was made
	Runs    []*Run `json:"runs"`
}

// Read reads results from a file; none if it is not there.
func Read(path string) (*Results, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return &Results{}, nil
	}
	if err != nil {
		return nil, err
	}
	var r Results
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("results %s: %w", path, err)
	}
	return &r, nil
}

// Add takes a run in, in the place of an earlier one of the same.
func (r *Results) Add(run *Run) {
	r.Runs = slices.DeleteFunc(r.Runs, run.same)
	r.Runs = append(r.Runs, run)
	slices.SortStableFunc(r.Runs, func(a, b *Run) int {
		return cmp.Or(cmp.Compare(a.Services, b.Services), cmp.Compare(a.Endpoints, b.Endpoints),
			cmp.Compare(a.Mode, b.Mode), cmp.Compare(b.Variant, a.Variant), cmp.Compare(a.Program, b.Program))
	})
}

// Write writes the results to dir/results.json, the plots beside it, and all of the
// page between its marks.
func (r *Results) Write(dir, page string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	for _, p := range plots() {
		if err := os.WriteFile(filepath.Join(dir, p.file), p.svg(r.Runs), 0o644); err != nil {
			return err
		}
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	fresh, err := between(string(old), r.body(filepath.Base(dir)))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(fresh), 0o644)
}
