package proxier

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestSliceTrigger(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-01-02T03:04:05.678901234Z": time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC),
		"yesterday":                      {},
		"":                               {},
	} {
		slice := testSlice("a", "x", "web")
		slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: text}
		if got := readSlice(slice).Trigger; !got.Equal(want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
