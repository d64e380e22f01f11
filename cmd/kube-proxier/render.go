package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// A render prints the rules for manifests, without root and without a cluster.
type render struct {
	*program
	path, output, service, family string
	strict                        bool
}

func newRender(p *program) *cobra.Command {
	r := render{program: p}
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Print the rules for manifests",
		Long: `Print the full rules this node would have for the Services, EndpointSlices and
Nodes in manifests. Neither root nor a cluster is needed, and nothing is changed.

The daemon's flags count here, too. The node's name is that of the configuration
(--hostname-override); without one, that of the only Node in the manifests; else
the host's. What cannot be served is printed to standard error; the rest is
rendered.

In mode ipvs the sets follow the rules of a family, as ipset save prints them,
and then the virtual servers, as ipvsadm -S -n does. Those of node ports are at
the addresses of the Node object.

Exit status: 0 when the rules were printed, 1 after an error, and with --strict
when something cannot be served.`,
		Example: `  kubectl get services,endpointslices,nodes -A -o yaml | kube-proxier render -f - --hostname-override=node-1
  # one Service over IPv4, as packets walk its rules
  kube-proxier render -f services.yaml --service=shop/web --family=ipv4 -o tree
  # with virtual servers
  kube-proxier render -f services.yaml --proxy-mode=ipvs --ipvs-scheduler=lc
  # with the configuration of the cluster's kube-proxy
  kube-proxier render -f services.yaml --config=config.conf -o json`,
		Args: cobra.NoArgs,
		RunE: r.command,
	}
	addManifestsFlag(cmd.Flags(), &r.path, "f", "and print the rules for them")
	cmd.Flags().StringVarP(&r.output, "output", "o", "text", "`Form`: text (iptables-save's), json or tree, e.g. --output=json.")
	cmd.Flags().StringVar(&r.service, "service", "", "Only this Service, `namespace/name`, and what leads to it, e.g. --service=shop/web.")
	cmd.Flags().StringVar(&r.family, "family", "both", "Only this IP `family`: ipv4, ipv6 or both, e.g. --family=ipv6.")
	cmd.Flags().BoolVar(&r.strict, "strict", false, "Fail when something cannot be served, e.g. --strict.")
	return cmd
}

func (r *render) command(cmd *cobra.Command, _ []string) error {
	families, err := parseFamilies(r.family)
	if err != nil {
		return err
	}
	service, err := parseService(r.service)
	if err != nil {
		return err
	}
	print, err := r.printer()
	if err != nil {
		return err
	}
	if r.path == "" {
		return fmt.Errorf("--manifests (-f) is missing: name a file, a folder, or - for standard input")
	}
	c, err := r.loadOnce(cmd)
	if err != nil {
		return err
	}
	m := &source.Manifests{Path: r.path, In: cmd.InOrStdin(), NodeName: c.NodeName}
	if !c.NodeNameGiven {
		m.NodeName = "" // the only Node there is, if there is just one
	}
	store, found, err := readManifests(cmd.Context(), m, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	snapshot, nodeName := store.Snapshot(), c.NodeName
	if !c.NodeNameGiven && snapshot.Node != nil {
		nodeName = snapshot.Node.Name
	}
	if service.Name != "" && !slices.ContainsFunc(snapshot.Services, func(o *proxier.ServiceObjects) bool {
		return o.Name == service && o.Service != nil
	}) {
		return fmt.Errorf("--service=%s: the manifests have no such Service", service)
	}
	var out bytes.Buffer
	rendered := rendering{service: service}
	for _, family := range families {
		options := c.Options(family)
		options.NodeName = nodeName
		one := renderFamily(snapshot, c, options, service)
		problems := one.problems()
		printProblems(cmd.ErrOrStderr(), problems)
		found += len(problems)
		if one.virtual != nil && len(one.state.NodePorts) > 0 && !one.state.Node.IP(family).IsValid() {
			cmd.PrintErrf("warning: %s: virtual servers of node ports are left out: the Node %s with its address is not in the manifests\n", family, nodeName)
		}
		rendered.families = append(rendered.families, one)
	}
	if err := print(&out, rendered); err != nil {
		return err
	}
	if _, err := cmd.OutOrStdout().Write(out.Bytes()); err != nil {
		return err
	}
	if r.strict && found > 0 {
		return fmt.Errorf("--strict: %d problems, see above", found)
	}
	return nil
}

// A rendering is what is printed.
type rendering struct {
	families []familyRendering
	service  types.NamespacedName // empty for all
}

type familyRendering struct {
	state *proxier.State
	rules iptables.Ruleset
	// virtual is nil in iptables mode.
	virtual *virtualRendering
}

// problems are those of the objects, and then those of the mode.
func (f familyRendering) problems() []proxier.Problem {
	if f.virtual == nil {
		return f.state.Problems
	}
	return slices.Concat(f.state.Problems, f.virtual.problems)
}

// renderFamily makes the rules of one Service, or of all for an empty name.
func renderFamily(snapshot *proxier.Snapshot, c *config.Config, options proxier.Options, service types.NamespacedName) familyRendering {
	state := proxier.Build(nil, snapshot, options)
	features := iptables.AllFeatures()
	features.DropInvalid = !c.Conntrack.TCPBeLiberal
	compiled := iptables.Compile(nil, state, rulesOptions(c, options.Family, features))
	rendered := familyRendering{state: state, rules: compiled.Ruleset}
	if service.Name != "" {
		rendered.rules = compiled.Part(service)
	}
	if c.Mode == config.ModeIPVS {
		rendered.virtual = renderVirtual(state, c, service)
	}
	return rendered
}

// rulesOptions is what shapes the rules beside the State.
func rulesOptions(c *config.Config, family proxier.Family, features iptables.Features) iptables.Options {
	o := iptables.Options{Features: features, MasqueradeBit: c.MasqueradeBit}
	if c.Mode == config.ModeIPVS {
		o.Virtual = mode.SetNames(family)
	}
	return o
}

// printer is the one for --output.
func (r *render) printer() (func(io.Writer, rendering) error, error) {
	switch r.output {
	case "text":
		return printText, nil
	case "json":
		return printJSON, nil
	case "tree":
		return printTree, nil
	}
	return nil, fmt.Errorf("--output=%.80q: must be text, json or tree", r.output)
}

// printTree prints the rules as a packet meets them.
func printTree(out io.Writer, all rendering) error {
	for _, f := range all.families {
		if _, err := fmt.Fprintf(out, "# %s\n%s", f.state.Family, iptables.Outline(f.rules)); err != nil {
			return err
		}
		if err := f.virtual.print(out); err != nil {
			return err
		}
	}
	return nil
}

func printText(out io.Writer, all rendering) error {
	for _, f := range all.families {
		if _, err := fmt.Fprintf(out, "# %s\n%s", f.state.Family, f.rules); err != nil {
			return err
		}
		if err := f.virtual.print(out); err != nil {
			return err
		}
	}
	return nil
}

func parseFamilies(s string) ([]proxier.Family, error) {
	switch strings.ToLower(s) {
	case "both":
		return proxier.Families, nil
	case "ipv4":
		return []proxier.Family{proxier.IPv4}, nil
	case "ipv6":
		return []proxier.Family{proxier.IPv6}, nil
	}
	return nil, fmt.Errorf("--family=%.80q: must be ipv4, ipv6 or both", s)
}

func parseService(s string) (types.NamespacedName, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if s != "" && (!ok || namespace == "" || name == "" || strings.Contains(name, "/")) {
		return types.NamespacedName{}, fmt.Errorf("--service=%.80q: must be namespace/name", s)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}
