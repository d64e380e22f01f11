package report

import (
	"math"
	"strconv"
	"strings"
)

// number prints a figure with as many digits as it is worth: three, and none that
// are not before the point from 100 on.
func number(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 99.95:
		return thousands(int(math.Round(v)))
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// thousands prints 10000 as 10,000.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return sign + strings.Join(append([]string{digits}, groups...), ",")
}

// seconds prints a duration in the unit that suits it.
func seconds(s float64) string {
	if s != 0 && math.Abs(s) < 0.9995 {
		return number(s*1000) + " ms"
	}
	return number(s) + " s"
}
