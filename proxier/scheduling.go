package proxier

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const (
	// SchedulerAnnotation on a Service names the IPVS scheduler for it.
	SchedulerAnnotation = "kube-proxier.io/ipvs-scheduler"
	// WeightsAnnotation on an EndpointSlice gives endpoints a weight, such as
	// "10.244.1.5=3,10.244.2.7=0"; those it does not name have 1.
	WeightsAnnotation = "kube-proxier.io/weights"
)

// Schedulers are all that Linux has (ipvsadm(8)). Which of them a node has
// depends on its modules.
var Schedulers = []string{ //nolint:gochecknoglobals // a constant list
	"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "ovf", "fo", "twos",
}

// maxWeight is the largest weight IPVS takes (ipvsadm(8)).
const maxWeight = 65535

// parseWeights reads a WeightsAnnotation. After an error no weight counts.
func parseWeights(text string) (map[netip.Addr]uint16, error) {
	if text == "" {
		return nil, nil
	}
	weights := map[netip.Addr]uint16{}
	for item := range strings.SplitSeq(text, ",") {
		address, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return nil, fmt.Errorf("item %.60q is not ADDRESS=WEIGHT", item)
		}
		addr, ok := parseAddr(strings.TrimSpace(address))
		if !ok {
			return nil, fmt.Errorf("%.60q is not an IP address", address)
		}
		weight, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("weight %.20q of %s is not a number from 0 to %d", value, addr, maxWeight)
		}
		weights[addr] = uint16(weight)
	}
	return weights, nil
}
