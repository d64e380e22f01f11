package main

import "time"

// A failure that lasts may come with each change of an object, for hours, and one
// that comes and goes as often. The same is logged once in failureQuiet, and of
// different ones maxFailures. All are counted.
const (
	failureQuiet = time.Minute
	maxFailures  = 10
)

// lastingFailures decide which failed passes over one family are logged. The zero
// value is ready.
type lastingFailures struct {
	failing map[string]*lastingFailure // by dataplane
}

// A lastingFailure is that of one dataplane.
type lastingFailure struct {
	quiet  time.Time       // until then
	told   map[string]bool // errors of this time
	silent int             // passes that failed since one was told
	passes int             // all since one succeeded
	open   bool            // whether one of these was told
}

// failed takes note of a failed pass, and says whether it is to be told, and how
// many failed before that were not.
func (l *lastingFailures) failed(dataplane string, err error, now time.Time) (tell bool, before int) {
	f := l.failing[dataplane]
	if f == nil {
		f = &lastingFailure{}
		if l.failing == nil {
			l.failing = map[string]*lastingFailure{}
		}
		l.failing[dataplane] = f
	}
	f.passes++
	if !now.Before(f.quiet) {
		f.quiet, f.told = now.Add(failureQuiet), map[string]bool{}
	}
	if f.told[err.Error()] || len(f.told) == maxFailures {
		f.silent++
		return false, 0
	}
	f.told[err.Error()], f.open = true, true
	before, f.silent = f.silent, 0
	return true, before
}

// succeeded takes note of a pass that did not fail, and says whether an end of
// failures is to be told, and how many there were.
func (l *lastingFailures) succeeded(dataplane string) (tell bool, failed int) {
	f := l.failing[dataplane]
	if f == nil {
		return false, 0
	}
	tell, failed = f.open, f.passes
	f.open, f.passes = false, 0
	return tell, failed
}
