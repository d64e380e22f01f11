package proxier

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseWeights(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, test := range []struct {
		text string
		want map[netip.Addr]uint16
		err  string
	}{
		{"", nil, ""},
		{"10.0.0.1=3", map[netip.Addr]uint16{a: 3}, ""},
		{" 10.0.0.1 = 0 , fd00::1=65535", map[netip.Addr]uint16{a: 0, b: 65535}, ""},
		{"10.0.0.1", nil, "is not ADDRESS=WEIGHT"},
		{"web-1=3", nil, "is not an IP address"},
		{"10.0.0.1=65536", nil, "is not a number from 0 to 65535"},
		{"10.0.0.1=-1", nil, "is not a number from 0 to 65535"},
		{"10.0.0.1=1,", nil, "is not ADDRESS=WEIGHT"},
	} {
		got, err := parseWeights(test.text)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("%q: error %v, want %q", test.text, err, test.err)
		}
		if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%q:\n%s", test.text, diff)
		}
	}
}
