package preflight

import (
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/source"
	"github.com/kube-proxier/kube-proxier/sysctl"
)

// Facts are what there is to judge. A part that was not looked at is empty, and
// nothing is found about it.
type Facts struct {
	// Config is nil when ConfigError says why it cannot be used.
	Config      *config.Config
	ConfigError error
	Warnings    []config.Warning
	// Starting tells that this is the daemon itself at its start; otherwise
	// another one may be at work.
	Starting bool

	// Kernel is its release, such as "6.1.0-13-amd64".
	Kernel string
	// NetAdmin tells whether this process has CAP_NET_ADMIN.
	NetAdmin bool
	// NoIPv6 is why this host has no IPv6; nil where it has.
	NoIPv6 error
	// Families are those of the tools, IPv4 first.
	Families []Family

	// ModeError is why the mode does not work on this host; nil when it does.
	ModeError error
	// Schedulers are those of the kernel's IPVS.
	Schedulers []string
	// IPVSDevice is the type of kube-ipvs0; empty when it is not there.
	IPVSDevice string

	// Sysctls are the values of those parameters that Gather reads and that are
	// there, by name.
	Sysctls map[string]string
	// Required parameters are not as the mode needs them, Wished ones not as
	// the configuration has them.
	Required, Wished []Parameter
	// Bridges are the network devices that are bridges.
	Bridges []string
	// Tracked is the number of tracked connections, and MaxTracked the limit; 0
	// when it is not known.
	Tracked, MaxTracked int

	// NFTables are the tables of nftables that are not those of iptables, such
	// as "inet firewalld".
	NFTables []string
	// Proxies are the Service proxies that run in this network namespace.
	Proxies []Process

	// Ports are the addresses to listen on.
	Ports []Port

	// API is nil where the objects come from files, of which Manifests tells.
	API       *API
	Manifests *Manifests
}

// A Family is one IP family and the tool that is in use for it.
type Family struct {
	Family proxier.Family
	// Err says why there is no tool, or why it does not work.
	Err error
	// Tool is such as "iptables 1.8.9 (nft)".
	Tool string
	// Missing needs are not met by the kernel or the tool; TrialErr says why
	// that could not be tried.
	Missing  []iptables.Need
	TrialErr error
	// Rules are those of others in the filter table, in the variant in use.
	Rules iptables.Ruleset
	// Other is the tool of the other variant, where there is one, and
	// OtherChains are those of a Service proxy in its tables.
	Other       string
	OtherChains []string
}

// A Parameter is one of the kernel's that is not as it should be.
type Parameter struct {
	sysctl.Outcome
	// Writable tells whether this process may set it.
	Writable bool
}

// A Process is a program that runs.
type Process struct {
	PID  int
	Name string
}

// A Port is an address to listen on.
type Port struct {
	// Field is the configuration's, such as "healthzBindAddress".
	Field   string
	Address netip.AddrPort
	// Err is why it is not possible now; nil when it is.
	Err error
}

// Manifests are the files that the objects come from.
type Manifests struct {
	// Err is why they cannot be read at all.
	Err error
	// Services is how many there are.
	Services int
	// Problems are what cannot be read or served as it is written.
	Problems []proxier.Problem
}

// API is how it went with the API server.
type API struct {
	// ClientErr is why there is no client: no kubeconfig, or one that cannot be
	// read.
	ClientErr error
	// Server is its URL.
	Server string
	source.Answer
	// PodsServer is the address that the environment gives to pods for it: that of its
	// Service, where nobody has said otherwise. Empty outside of pods.
	PodsServer string

	// Ahead is how far the server's clock is ahead of this host's.
	Ahead time.Duration
}
