package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/health"
)

// A reloadReport tells what becomes of the configuration file: in the log, in
// events on the Node, in metrics and on the status page; the same thing once.
type reloadReport struct {
	logger   klog.Logger
	node     nodeEvents
	measured *metricsService // may be nil
	healthy  *healthService  // may be nil
	file     string          // empty for none

	status  health.ConfigStatus
	refused string          // the refusal that was told; empty if the file is in force
	later   []config.Change // that were told to need a restart
	warned  []config.Warning
}

// newReloadReport is of the file that was read at the start, with warnings that were
// told then.
func newReloadReport(r *resident, file string, warned []config.Warning) *reloadReport {
	t := &reloadReport{logger: r.logger, node: r.node, measured: r.measured, healthy: r.healthy, file: file, warned: warned}
	t.status = health.ConfigStatus{File: file, Hash: configHash(r.inForce.Load()), Since: time.Now()}
	t.show()
	return t
}

// configHash tells configurations apart, in 12 digits.
func configHash(c *config.Config) string {
	text, err := c.YAML()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// refuse tells why the file is not put into force.
func (t *reloadReport) refuse(err error) {
	if err.Error() == t.refused {
		t.logger.V(2).Info("The configuration file is still refused", "reason", err.Error())
		return
	}
	t.refused = err.Error()
	t.logger.Error(err, "The configuration file is refused; what was in force stays in force", "inForce", t.status.Hash)
	t.node.warning("ConfigInvalid", "%.900s: what was in force stays in force", t.refused)
	if t.measured != nil {
		t.measured.ConfigRefused()
	}
	t.status.Refused, t.status.RefusedAt = err, time.Now()
	t.show()
}

// warn tells those that the file before had not. What is written without effect
// changes nothing else.
func (t *reloadReport) warn(warnings []config.Warning) {
	for _, w := range warnings {
		if !slices.Contains(t.warned, w) {
			t.logger.Info("Configuration", "warning", w.String())
		}
	}
	t.warned = warnings
}

// apply tells what has come into force.
func (t *reloadReport) apply(c *config.Config, changes []config.Change) {
	t.status.Hash, t.status.Since = configHash(c), time.Now()
	logChanges(t.logger, "Configuration: a field has changed", changes)
	t.logger.Info("The configuration has changed", "fields", fieldsOf(changes), "mode", c.Mode, "inForce", t.status.Hash)
	t.node.normal("ConfigReloaded", "%.900s", joinChanges(changes))
	if t.measured != nil {
		t.measured.ConfigApplied(t.status.Since)
	}
}

// asWritten tells that nothing of the file is refused, and what needs a restart.
func (t *reloadReport) asWritten(later []config.Change) {
	switch {
	case t.refused != "":
		t.logger.Info("The configuration file is not refused any more", "inForce", t.status.Hash)
	case slices.Equal(later, t.later):
		t.logger.V(2).Info("The configuration file says what is in force", "inForce", t.status.Hash)
	}
	if !slices.Equal(later, t.later) {
		t.tellLater(later)
	}
	t.refused, t.later = "", later
	if t.measured != nil {
		t.measured.ConfigAsWritten(len(later))
	}
	t.status.Refused, t.status.NeedsRestart = nil, nil
	for _, c := range later {
		t.status.NeedsRestart = append(t.status.NeedsRestart, c.String())
	}
	t.show()
}

func (t *reloadReport) tellLater(later []config.Change) {
	if len(later) == 0 {
		t.logger.Info("The configuration file needs no restart any more")
		return
	}
	logChanges(t.logger, "Configuration: a field needs a restart of kube-proxier to change", later)
	note := joinChanges(later)
	t.node.warning("ConfigNeedsRestart", "until a restart these stay as they were: %.900s", note)
}

func (t *reloadReport) show() {
	if t.healthy != nil {
		t.healthy.pages.Status.SetConfig(t.status)
	}
}

func fieldsOf(changes []config.Change) []string {
	var names []string
	for _, c := range changes {
		names = append(names, c.Field)
	}
	return names
}

func joinChanges(changes []config.Change) string {
	var texts []string
	for _, c := range changes {
		texts = append(texts, fmt.Sprint(c))
	}
	return strings.Join(texts, "; ")
}
