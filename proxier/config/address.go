package config

import (
	"net"
	"net/netip"
	"strconv"

	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	utilnet "k8s.io/utils/net"
)

const (
	defaultHealthzPort = 10256
	defaultMetricsPort = 10249
)

func (v *validator) addresses(from *proxyconfig.KubeProxyConfiguration, c *Config) {
	bind, ok := parseIP(from.BindAddress)
	if !ok {
		v.invalid("bindAddress", from.BindAddress, "must be an IP address without brackets, such as 192.0.2.7 or ::")
	}
	c.BindAddress = bind
	if from.HealthzBindAddress != "" { // turned off by --healthz-port=0
		c.HealthzAddress = v.addrPort("healthzBindAddress", &from.HealthzBindAddress, defaultHealthzPort)
	}
	c.MetricsAddress = v.addrPort("metricsBindAddress", &from.MetricsBindAddress, defaultMetricsPort)
	c.BindAddressHardFail = from.BindAddressHardFail
	c.Profiling = from.EnableProfiling
}

// addrPort reads "address" or "address:port"; in the first case port is
// written into the field. Only a deprecated port flag of 0 leaves it empty.
func (v *validator) addrPort(path string, field *string, port uint16) netip.AddrPort {
	if ip, ok := parseIP(*field); ok {
		*field = netip.AddrPortFrom(ip, port).String()
	}
	if *field == "" {
		v.invalid(path, 0, "must not be 0: metrics cannot be turned off")
		return netip.AddrPort{}
	}
	host, portText, err := net.SplitHostPort(*field)
	ip, isIP := parseIP(host)
	number, errPort := strconv.ParseUint(portText, 10, 16)
	if err != nil || !isIP || errPort != nil || number == 0 {
		v.invalid(path, *field, "must be an IP address, or one with a port from 1 to 65535, such as 0.0.0.0:10256 or [::]:10256")
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, uint16(number))
}

// parseIP reads an address as kube-proxy does, leading zeros in it are
// decimal.
func parseIP(s string) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(utilnet.ParseIPSloppy(s))
	return ip.Unmap(), ok
}
