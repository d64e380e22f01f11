package health

import (
	"time"
)

// A ConfigStatus tells which configuration is in force, and what became of the
// last change of its file.
type ConfigStatus struct {
	// File is the path; empty where there is none.
	File string
	// Hash is of the configuration in force, Since when that came into force.
	Hash  string
	Since time.Time
	// NeedsRestart are the changes in the file that do not count before a
	// restart.
	NeedsRestart []string
	// Refused is why the file, as it is now, is not in force, since RefusedAt;
	// nil where it is.
	Refused   error
	RefusedAt time.Time
}

// configPage is a ConfigStatus on the status page.
type configPage struct {
	File         string     `json:"file,omitempty"`
	Hash         string     `json:"hash"`
	InForceSince time.Time  `json:"inForceSince"`
	NeedsRestart []string   `json:"needsRestart,omitempty"`
	Refused      *errorPage `json:"refused,omitempty"`
}

// SetConfig shows this from now on.
func (s *Status) SetConfig(c ConfigStatus) {
	page := &configPage{File: c.File, Hash: c.Hash, InForceSince: c.Since.UTC(), NeedsRestart: c.NeedsRestart}
	if c.Refused != nil {
		page.Refused = &errorPage{c.RefusedAt.UTC(), c.Refused.Error()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config = page
}
