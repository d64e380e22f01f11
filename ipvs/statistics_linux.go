package ipvs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// The numbers of linux/ip_vs.h. The library for virtual servers reads the older
// statistics only, in which connections and packets have 32 bits: at a million
// packets a second they are full after an hour.
const (
	genlVersion       = 1 // IPVS_GENL_VERSION
	commandGetService = 4 // IPVS_CMD_GET_SERVICE

	serviceAttrFamily   = 1
	serviceAttrProtocol = 2
	serviceAttrAddr     = 3
	serviceAttrPort     = 4
	serviceAttrStats64  = 12 // since Linux 4.1

	statsAttrConnections = 1
	statsAttrPacketsIn   = 2
	statsAttrPacketsOut  = 3
	statsAttrBytesIn     = 4
	statsAttrBytesOut    = 5
)

// A Statistic is what a virtual server has counted since it was made, or since
// somebody set it to zero.
type Statistic struct {
	Place
	traffic.Counts
}

// Statistics are those of all virtual servers of a family, in the network
// namespace of the calling thread, from one dump. They are up to 2 s old: so often
// the kernel adds up what its processors have counted, unless
// net.ipv4.vs.run_estimation is 0 (ipvs-sysctl in the kernel's documentation).
func Statistics(ctx context.Context, family proxier.Family) ([]Statistic, error) {
	genl, err := netlink.GenlFamilyGet("IPVS")
	if err != nil {
		return nil, fmt.Errorf("this kernel has no IPVS (load the module ip_vs): %w", err)
	}
	var all []Statistic
	err = retry(ctx, func() error {
		all = nil
		request := nl.NewNetlinkRequest(int(genl.ID), syscall.NLM_F_DUMP)
		request.AddData(&nl.Genlmsg{Command: commandGetService, Version: genlVersion})
		messages, err := request.Execute(unix.NETLINK_GENERIC, 0)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			err = syscall.EINTR // it changed meanwhile
		}
		for _, message := range messages {
			s, ok := parseStatistic(message)
			if ok && s.Family() == family {
				all = append(all, s)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("statistics of virtual servers: %w", err)
	}
	return all, nil
}

// parseStatistic reads one message of the dump; false for what is no virtual
// server with a place.
func parseStatistic(message []byte) (Statistic, bool) {
	if len(message) < nl.SizeofGenlmsg {
		return Statistic{}, false
	}
	outer, err := nl.ParseRouteAttr(message[nl.SizeofGenlmsg:])
	if err != nil || len(outer) == 0 {
		return Statistic{}, false
	}
	attrs, err := nl.ParseRouteAttr(outer[0].Value)
	if err != nil {
		return Statistic{}, false
	}
	var s Statistic
	var addr []byte
	var port, af uint16
	for _, a := range attrs {
		switch v := a.Value; {
		case a.Attr.Type&nl.NLA_TYPE_MASK == serviceAttrStats64:
			if s.Counts, err = parseCounts(v); err != nil {
				return Statistic{}, false
			}
		case len(v) < 2:
		case a.Attr.Type == serviceAttrFamily:
			af = nl.NativeEndian().Uint16(v)
		case a.Attr.Type == serviceAttrProtocol:
			s.Protocol = protocolOf(nl.NativeEndian().Uint16(v))
		case a.Attr.Type == serviceAttrAddr:
			addr = v
		case a.Attr.Type == serviceAttrPort:
			port = binary.BigEndian.Uint16(v)
		}
	}
	if af == unix.AF_INET && len(addr) > 4 {
		addr = addr[:4] // the kernel sends 16 bytes for either family
	}
	ip, ok := netip.AddrFromSlice(addr)
	s.Addr = netip.AddrPortFrom(ip, port)
	return s, ok && s.Protocol != ""
}

// parseCounts reads nested attributes of 64 bits each.
func parseCounts(b []byte) (traffic.Counts, error) {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return traffic.Counts{}, err
	}
	var c traffic.Counts
	for _, a := range attrs {
		field := map[uint16]*uint64{
			statsAttrConnections: &c.Connections,
			statsAttrPacketsIn:   &c.PacketsIn, statsAttrPacketsOut: &c.PacketsOut,
			statsAttrBytesIn: &c.BytesIn, statsAttrBytesOut: &c.BytesOut,
		}[a.Attr.Type]
		if field != nil && len(a.Value) == 8 {
			*field = nl.NativeEndian().Uint64(a.Value)
		}
	}
	return c, nil
}
