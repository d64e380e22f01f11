package ipset

import "testing"

func TestSetsHaveRoomForAsManyEntriesAgain(t *testing.T) {
	tests := []struct {
		entries int
		want    uint32
	}{
		{0, 1 << 20}, {65_537, 1 << 20}, {1 << 19, 1 << 20}, {1<<19 + 1, 1 << 21}, {3_000_000, 1 << 23},
	}
	for _, test := range tests {
		if got := room(test.entries); got != test.want {
			t.Errorf("room for %d entries: %d, want %d", test.entries, got, test.want)
		}
	}
}
