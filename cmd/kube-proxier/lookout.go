package main

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// strangerQuiet lies at least between two that are logged of one family: a
// second Service proxy may write many times a second. All are counted.
const strangerQuiet = time.Minute

// A lookoutPost tells of Service proxies that write with the variant of iptables
// that is not in use. Its calls of one family do not overlap.
type lookoutPost struct {
	*resident
	tool   *iptables.Tool
	quiet  time.Time // until then
	silent int       // not told since
}

// lookOut tells of what is written with the other variant, until ctx ends. None
// of it is touched: it is somebody's who may need it.
func (r *resident) lookOut(ctx context.Context, tool *iptables.Tool) {
	if r.dryRun {
		return
	}
	lookout, err := iptables.NewLookout(tool)
	if err == nil {
		post := &lookoutPost{resident: r, tool: tool}
		err = lookout.Watch(ctx, func(d proxier.Drift) { post.seen(d, time.Now()) })
	}
	if err != nil && ctx.Err() == nil {
		r.lookoutFailed(tool, err)
	}
}

// lookoutFailed says that nobody looks. Whoever left out CAP_NET_RAW knows, and is
// told so once for both families.
func (r *resident) lookoutFailed(tool *iptables.Tool, err error) {
	const message = "A Service proxy that writes with the other variant of iptables would not be noticed"
	other := tool.Variant.Other()
	if other == iptables.VariantLegacy && errors.Is(err, syscall.EPERM) {
		r.withoutNetRaw.Do(func() { r.logger.Info(message+": that takes CAP_NET_RAW", "other", other) })
		return
	}
	r.logger.Error(err, message, "tool", tool, "other", other)
}

// seen counts a write, and says so unless it has been said just now.
func (p *lookoutPost) seen(d proxier.Drift, now time.Time) {
	family, other := p.tool.Family, string(p.tool.Variant.Other())
	p.healthy.otherVariant(family, other, d)
	p.measured.otherVariant(family)
	if now.Before(p.quiet) {
		p.silent++
		return
	}
	p.logger.Error(nil, "Somebody writes rules of a Service proxy with the other variant of iptables; packets pass through both. They are left alone: stop the other program, then delete its rules",
		"tool", p.tool, "other", other, "noticed", noticed([]proxier.Drift{d}), "before", p.silent)
	p.node.warning("OtherVariantWritten", "somebody writes rules of a Service proxy with iptables-%s over %s, while %s is in use: %.700s",
		other, family, p.tool, noticed([]proxier.Drift{d})[0])
	p.quiet, p.silent = now.Add(strangerQuiet), 0
}
