package health

import (
	"strings"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A time without a monotonic reading follows the wall clock when that is set.
// Time.String shows the reading as m=±seconds.
func TestWorkWaitsByTheMonotonicClock(t *testing.T) {
	h := New(time.Minute)
	h.Due(proxier.IPv4)
	if since := h.families[proxier.IPv4].waits; !strings.Contains(since.String(), " m=") {
		t.Errorf("work waits since %s", since)
	}
	if r := h.read(); r.families[proxier.IPv4].waits.Location() != time.UTC || r.at.Location() != time.UTC {
		t.Errorf("shown in another zone than UTC: %+v", r)
	}
}
