package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

func TestJSONLog(t *testing.T) {
	var out bytes.Buffer
	p := program{klog: addKlogFlags(pflag.NewFlagSet("", pflag.ContinueOnError))}
	logger := logr.FromSlogHandler(newJSONHandler(&p.level, &out))
	logger.V(2).Info("not shown before the change")
	if err := p.adjustLogging(config.Logging{Verbosity: 2, FlushFrequency: time.Second}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.klog.Set("v", "0") }()
	logger.V(2).Info("shown", "service", "shop/web")
	logger.V(3).Info("not shown")
	logger.Error(errors.New("broken"), "failed")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2:\n%s", len(lines), out.String())
	}
	var shown, failed map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &shown), json.Unmarshal([]byte(lines[1]), &failed)); err != nil {
		t.Fatal(err)
	}
	if shown["msg"] != "shown" || shown["v"] != 2.0 || shown["service"] != "shop/web" || shown["ts"] == nil || shown[slog.TimeKey] != nil {
		t.Errorf("got %s", lines[0])
	}
	if _, hasV := failed["v"]; hasV || failed["msg"] != "failed" || failed["err"] != "broken" {
		t.Errorf("got %s", lines[1])
	}
}
