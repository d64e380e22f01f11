package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/phase"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
)

// options are what the command line says.
type options struct {
	sizes      []load.Size
	kinds      []subject.Kind
	program    string
	compare    string // path of kube-proxy; empty: not compared
	extra      []string
	effort     phase.Effort
	out, page  string
	reportOnly bool
	kubeconfig string // of an API server that is filled already; see inside
	api        netip.AddrPort
}

// inside tells whether this is the part of a measurement that is made inside of the
// virtual machine: of one size, for an API server that another process has filled.
func (o *options) inside() bool { return o.kubeconfig != "" }

func parse(args []string) (*options, error) {
	var o options
	var sizes, modes, variants, extra, api string
	flags := flag.NewFlagSet("bench-scale", flag.ContinueOnError)
	flags.StringVar(&sizes, "sizes", "1000x10", "`list` of SERVICESxENDPOINTS")
	flags.StringVar(&modes, "modes", "iptables,nftables", "`list` of iptables, nftables (kube-proxy's alone) and ipvs")
	flags.StringVar(&variants, "variants", "nft,legacy", "`list` of the iptables to measure with: nft, legacy")
	flags.StringVar(&o.program, "program", "bin/kube-proxier", "`path` of kube-proxier")
	flags.StringVar(&o.compare, "compare", "", "`path` of kube-proxy, to be measured, too")
	flags.StringVar(&extra, "args", "", "further `arguments` for kube-proxier, separated by spaces")
	flags.StringVar(&o.out, "out", "docs/benchmarks", "`folder` of results.json and the plots")
	flags.StringVar(&o.page, "page", "docs/benchmarks.md", "`file` to write the tables into")
	flags.BoolVar(&o.reportOnly, "report", false, "measure nothing, only write the page anew")
	only := flags.String("only", "", "measure only this `program`: kube-proxier or kube-proxy")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "measure with the API server of this `file`, and print the results")
	flags.StringVar(&api, "api", "", "`address:port` at which that is reached")
	defineEffort(flags, &o)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.extra = strings.Fields(extra)
	if o.inside() {
		var err error
		if o.api, err = netip.ParseAddrPort(api); err != nil {
			return nil, fmt.Errorf("-api: %w", err)
		}
	}
	return &o, errors.Join(o.setSizes(sizes), o.setKinds(modes, variants, *only), o.setPaths())
}

func (o *options) setSizes(list string) error {
	for text := range strings.SplitSeq(list, ",") {
		size, err := load.ParseSize(text)
		if err != nil {
			return err
		}
		o.sizes = append(o.sizes, size)
	}
	return nil
}

func (o *options) setKinds(modes, variants, only string) error {
	list, err := subject.ParseVariants(variants)
	if err != nil {
		return err
	}
	kinds, err := subject.Kinds(strings.Split(modes, ","), list, o.compare != "")
	for _, kind := range kinds {
		if only == "" || only == kind.Program {
			o.kinds = append(o.kinds, kind)
		}
	}
	return err
}

func (o *options) setPaths() (err error) {
	if o.program, err = filepath.Abs(o.program); err != nil || o.compare == "" {
		return err
	}
	o.compare, err = filepath.Abs(o.compare)
	return err
}

// path is the file of a kind's program.
func (o *options) path(kind subject.Kind) string {
	if kind.Program == subject.Ours {
		return o.program
	}
	return o.compare
}
