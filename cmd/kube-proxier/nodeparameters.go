package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// nodeParameters are the parameters of the node that do not depend on the mode,
// and those of this process.
func nodeParameters(c *config.Config) []sysctl.Parameter {
	return slices.Concat(conntrackParameters(c), sysctl.Process(c.OOMScoreAdj))
}

func conntrackParameters(c *config.Config) []sysctl.Parameter {
	return sysctl.Conntrack(c.Conntrack, sysctl.CPUs(sysctl.Sys), sysctl.Sys)
}

// setNodeParameters sets all of them.
func setNodeParameters(logger klog.Logger, c *config.Config) error {
	return setParameters(logger, nodeParameters(c))
}

// printNodeParameters says what setNodeParameters would do.
func printNodeParameters(out io.Writer, c *config.Config) { printParameters(out, nodeParameters(c)) }

// setParameters gives parameters of the node the values that a configuration
// asks for, once. Services are served without them, too: what cannot be set is
// logged, and returned as one error, for an event. It comes after rules have been
// tried, which makes the kernel load conntrack.
func setParameters(logger klog.Logger, parameters []sysctl.Parameter) error {
	var problems []error
	for _, o := range sysctl.Set(sysctl.Root, parameters) {
		if o.Err != nil {
			logger.Info("Cannot set a kernel parameter", "reason", o.Err.Error())
			problems = append(problems, o.Err)
			continue
		}
		logger.Info("Set a kernel parameter", "parameter", o.Name, "from", o.Have, "to", o.Want)
	}
	return errors.Join(problems...)
}

// printParameters says what setParameters would do.
func printParameters(out io.Writer, parameters []sysctl.Parameter) {
	for _, o := range sysctl.Check(sysctl.Root, parameters) {
		if o.Err != nil {
			fmt.Fprintf(out, "# %v\n", o.Err)
			continue
		}
		fmt.Fprintf(out, "# %s is %s\n%s\n", o.Name, o.Have, o.Parameter)
	}
}
