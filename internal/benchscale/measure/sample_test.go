package measure

import (
	"testing"
	"time"
)

func TestPercentileIsTheNearestRank(t *testing.T) {
	hundred := make(Sample, 0, 100)
	for i := 100; i > 0; i-- {
		hundred = append(hundred, time.Duration(i))
	}
	tests := []struct {
		name   string
		sample Sample
		p      float64
		want   time.Duration
	}{
		{"of nothing", nil, 50, 0},
		{"of one", Sample{7}, 99, 7},
		{"the lowest", hundred, 0, 1},
		{"the median", hundred, 50, 50},
		{"of few, the highest", Sample{3, 1, 2}, 99, 3},
		{"p99", hundred, 99, 99},
		{"the highest", hundred, 100, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if have := test.sample.Percentile(test.p); have != test.want {
				t.Errorf("have %d, want %d", have, test.want)
			}
		})
	}
	if hundred[0] != 100 {
		t.Error("the sample has been sorted in place")
	}
}
