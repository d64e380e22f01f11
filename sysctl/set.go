package sysctl

import (
	"bytes"
	"fmt"
	"os"
)

// An Outcome is what became of a parameter that was not as it should be.
type Outcome struct {
	Parameter
	// Have is the value before; empty when it could not be read.
	Have string
	// Err is why the parameter is still not as it should be; it names the
	// parameter, both values and what to do.
	Err error
}

// Check reads parameters, in their order, and returns those that are to be set
// and those that cannot be read. Nothing is written.
func Check(root string, parameters []Parameter) []Outcome {
	var outcomes []Outcome
	for _, p := range parameters {
		value, err := os.ReadFile(p.Path(root))
		have := string(bytes.TrimSpace(value))
		switch {
		case err != nil:
			err = fmt.Errorf("%s cannot be read, and should be %s: %w: %s", p.Name, p.Want, err, p.Why)
			outcomes = append(outcomes, Outcome{Parameter: p, Err: err})
		case !p.satisfied(have):
			outcomes = append(outcomes, Outcome{Parameter: p, Have: have})
		}
	}
	return outcomes
}

// Set gives parameters their values, in their order. One that cannot be set
// does not keep the others from it. What was as it should be is not written,
// and not in the result.
func Set(root string, parameters []Parameter) []Outcome {
	var outcomes []Outcome
	for _, o := range Check(root, parameters) {
		if o.Err == nil {
			o.Err = change{o.Parameter, o.Have}.set(root)
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}
