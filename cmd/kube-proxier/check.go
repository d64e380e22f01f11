package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/preflight"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// A check is the command of that name.
type check struct {
	*program
	manifests, output string
	timeout           time.Duration
}

func newCheck(p *program) *cobra.Command {
	c := check{program: p}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with this host and the configuration",
		Long: `Look whether this host has what it takes to serve, and what stands in the way: the
configuration, permissions, iptables and what the kernel knows of it, IPVS in that
mode, kernel parameters, conntrack, other firewalls and Service proxies, leftovers,
ports, and the API server. For each finding it is said why it matters and what to
do. Nothing is changed. The daemon's flags count here, too, and --kubeconfig even
beside --config, whose own may be there in pods only. Most of it needs root.

With --manifests (-f) the objects are read instead: a path that cannot be read is
"fatal", and what is wrong with an object a "warning". Standard input is read to its
end.

A finding is "fatal" where nothing could be served, "warning" where something may
not be, or not well, and "ok" otherwise.

At its start the daemon looks at the host, too. What is wrong with the configuration,
the mode, kernel parameters, the API server or objects is in its log in other words.

Exit status: 0 when nothing is fatal, 1 when something is, or after an error.`,
		Example: `  kube-proxier check --config=config.conf --kubeconfig=/etc/kubernetes/admin.conf --hostname-override=node-1
  kube-proxier check --proxy-mode=ipvs -o json
  # in the pod of that node
  pod=$(kubectl -n kube-system get pod -l k8s-app=kube-proxy --field-selector spec.nodeName=node-1 -o name)
  kubectl -n kube-system exec $pod -- kube-proxier check --config=/var/lib/kube-proxy/config.conf --hostname-override=node-1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.command(cmd) },
	}
	addManifestsFlag(cmd.Flags(), &c.manifests, "f", "and do not ask the API server")
	cmd.Flags().StringVarP(&c.output, "output", "o", "text", "Print text or json, e.g. -o json.")
	cmd.Flags().DurationVar(&c.timeout, "timeout", time.Minute, "How long to wait for the kernel and the API server, e.g. --timeout=10s.")
	return cmd
}

func (k *check) command(cmd *cobra.Command) error {
	if err := k.onlyWithout(cmd); err != nil {
		return err
	}
	if !slices.Contains([]string{"text", "json"}, k.output) {
		return fmt.Errorf("--output=%q: must be text or json", k.output)
	}
	k.flags.KubeconfigBeside = true
	klog.SetOutput(io.Discard) // what client-go logs is in the findings
	klog.LogToStderr(false)
	ctx, cancel := context.WithTimeout(cmd.Context(), k.timeout)
	defer cancel()
	findings := preflight.Judge(preflight.Gather(ctx, k.known(ctx, cmd.InOrStdin())))
	if cmd.Context().Err() != nil {
		return context.Cause(cmd.Context())
	}
	if ctx.Err() != nil {
		return fmt.Errorf("--timeout=%s: it was not enough", k.timeout)
	}
	if k.output == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"findings": findings}); err != nil {
			return err
		}
	} else {
		preflight.Print(cmd.OutOrStdout(), findings)
	}
	if preflight.Err(findings) != nil {
		return exitError{1, nil}
	}
	return nil
}

func (k *check) known(ctx context.Context, in io.Reader) preflight.Known {
	var known preflight.Known
	c, warnings, err := k.load(ctx)
	known.Warnings, known.ConfigError = warnings, err
	if err != nil {
		return known
	}
	known.Config, known.Wished = c, nodeParameters(c)
	here, err := newHost(ctx, c)
	if known.ModeError = err; err == nil {
		known.Schedulers, known.Required = here.schedulers, here.required()
		here.close()
	}
	if k.manifests == "" {
		connection := connectionOf(c)
		known.API = &connection
	} else {
		known.Manifests = checkManifests(ctx, c, &source.Manifests{Path: k.manifests, In: in, NodeName: c.NodeName})
	}
	return known
}

// checkManifests says what the daemon would find to be wrong with them.
func checkManifests(ctx context.Context, c *config.Config, m *source.Manifests) *preflight.Manifests {
	store, problems, err := loadManifests(ctx, m)
	if err != nil {
		return &preflight.Manifests{Err: err}
	}
	snapshot := store.Snapshot()
	for _, family := range proxier.Families {
		state := proxier.Build(nil, snapshot, c.Options(family))
		problems = append(problems, proxier.NewProblems(problems, state.Problems)...) // most are the same in both
	}
	services := 0
	for _, o := range snapshot.Services {
		if o.Service != nil {
			services++
		}
	}
	return &preflight.Manifests{Services: services, Problems: problems}
}

// required are the parameters without which the mode does not work.
func (h *host) required() []sysctl.Parameter {
	if h.config.Mode != config.ModeIPVS {
		return nil
	}
	var parameters []sysctl.Parameter
	for _, family := range proxier.Families {
		for _, p := range sysctl.IPVS(family, h.kernel, h.config.IPVS.StrictARP) {
			if !slices.ContainsFunc(parameters, func(have sysctl.Parameter) bool { return have.Name == p.Name }) {
				parameters = append(parameters, p)
			}
		}
	}
	return parameters
}
