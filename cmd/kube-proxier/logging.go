package main

import (
	goflag "flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"

	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// addKlogFlags adds klog's own flags, which kube-proxy has, too. They are not
// in the help: where the log goes is for whoever runs the program to say.
func addKlogFlags(set *pflag.FlagSet) *goflag.FlagSet {
	own := goflag.NewFlagSet("klog", goflag.ContinueOnError)
	klog.InitFlags(own)
	own.VisitAll(func(flag *goflag.Flag) {
		if flag.Name == "v" || flag.Name == "vmodule" {
			return // fields of the configuration
		}
		added := pflag.PFlagFromGoFlag(flag)
		added.Hidden = true
		set.AddFlag(added)
	})
	return own
}

// setUpLogging brings klog, through which everything is logged, into the form
// the configuration asks for. It comes once, before anything is logged.
func (p *program) setUpLogging(l config.Logging, out io.Writer) error {
	if err := p.adjustLogging(l); err != nil {
		return err
	}
	if l.Format == "json" {
		klog.SetSlogLogger(slog.New(newJSONHandler(&p.level, out)))
	}
	return nil
}

// adjustLogging changes how much is logged, at any time.
func (p *program) adjustLogging(l config.Logging) error {
	for name, value := range map[string]string{"v": strconv.Itoa(l.Verbosity), "vmodule": l.VModule} {
		if err := p.klog.Set(name, value); err != nil {
			return fmt.Errorf("logging: --%s=%s: %w", name, value, err)
		}
	}
	p.level.Set(slog.Level(-l.Verbosity)) // logr's verbosities are negative levels
	klog.StopFlushDaemon()
	klog.StartFlushDaemon(l.FlushFrequency)
	return nil
}

// newJSONHandler writes one object a line, with the keys of Kubernetes'
// components: ts in milliseconds since 1970, v the verbosity, msg; errors have
// err and no v.
func newJSONHandler(level slog.Leveler, out io.Writer) slog.Handler {
	return slog.NewJSONHandler(out, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return a
			}
			switch a.Key {
			case slog.TimeKey:
				return slog.Float64("ts", float64(a.Value.Time().UnixMicro())/1000)
			case slog.LevelKey:
				level, ok := a.Value.Any().(slog.Level)
				if !ok || level > slog.LevelInfo {
					return slog.Attr{}
				}
				return slog.Int("v", -int(level))
			}
			return a
		},
	})
}
