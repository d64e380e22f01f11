package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// Geometry, in pixels.
const (
	width      = 840
	left       = 70  // of the bars: the axis and its numbers
	right      = 20  // margin
	top        = 50  // of the bars: the title
	height     = 260 // of the bars
	bottom     = 60  // below the bars: the sizes and their name
	legendLine = 20
	groupGap   = 0.25 // of a group's width
)

// palette are colours that people of all kinds of colour vision can tell apart
// (Okabe and Ito, 2008): for each series one.
func palette() []string {
	return []string{"#0072b2", "#e69f00", "#56b4e9", "#d55e00", "#cc79a7", "#009e73", "#f0e442", "#000000"}
}

// draw makes a chart of grouped bars with a logarithmic axis.
func draw(title, unit string, series []string, groups []group) []byte {
	low, high := decades(groups)
	total := top + height + bottom + legendLine*(len(series)+1)/2
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, total, width, total)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, total)
	text(&b, width/2, 24, "middle", `font-size="16"`, title)
	axis(&b, unit, low, high)
	drawBars(&b, groups, low, high)
	text(&b, left+(width-left-right)/2, top+height+44, "middle", "", "Services × endpoints of each")
	legend(&b, series)
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// decades are the powers of ten between which all values lie.
func decades(groups []group) (low, high int) {
	least, most := math.Inf(1), math.Inf(-1)
	for _, g := range groups {
		for _, bar := range g.bars {
			if bar.ok && bar.value > 0 {
				least, most = min(least, bar.value), max(most, bar.value)
			}
		}
	}
	if least > most {
		return 0, 1
	}
	// A bar needs some height, so the least value is not at the bottom.
	low = int(math.Floor(math.Log10(least / 1.5)))
	return low, max(low+1, int(math.Ceil(math.Log10(most))))
}

// y is where a value is, in pixels from above.
func y(v float64, low, high int) float64 {
	part := (math.Log10(v) - float64(low)) / float64(high-low)
	return top + height*(1-min(max(part, 0), 1))
}

func axis(b *bytes.Buffer, unit string, low, high int) {
	for e := low; e <= high; e++ {
		at := y(math.Pow10(e), low, high)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ccc"/>`+"\n", left, width-right, at, at)
		text(b, left-6, at+4, "end", "", decade(e))
	}
	fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#222"/>`+"\n", left, left, top, top+height)
	text(b, 16, top+height/2, "middle", fmt.Sprintf(`transform="rotate(-90 16 %d)"`, top+height/2), unit+" (logarithmic)")
}

// decade prints a power of ten.
func decade(e int) string {
	if e < 0 {
		return "0." + strings.Repeat("0", -e-1) + "1"
	}
	return thousands(int(math.Pow10(e)))
}

func drawBars(b *bytes.Buffer, groups []group, low, high int) {
	if len(groups) == 0 {
		return
	}
	each := float64(width-left-right) / float64(len(groups))
	for i, g := range groups {
		from := left + each*(float64(i)+groupGap/2)
		wide := each * (1 - groupGap) / float64(max(len(g.bars), 1))
		for n, v := range g.bars {
			drawBar(b, from+wide*float64(n), wide, v, palette()[n%len(palette())], low, high)
		}
		text(b, left+each*(float64(i)+0.5), top+height+22, "middle", "", g.label)
	}
	fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#222"/>`+"\n", left, width-right, top+height, top+height)
}

// drawBar draws one bar with its value on top; a dash where there is none.
func drawBar(b *bytes.Buffer, x, wide float64, v bar, colour string, low, high int) {
	middle := x + wide/2
	if !v.ok {
		text(b, middle, top+height-5, "middle", `fill="#888"`, "–")
		return
	}
	at := float64(top + height)
	if v.value > 0 {
		at = y(v.value, low, high)
	}
	fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x+1, at, max(wide-2, 1), top+height-at, colour)
	text(b, middle, at-4, "middle", `font-size="10"`, number(v.value))
}

func legend(b *bytes.Buffer, series []string) {
	for i, name := range series {
		x := left + (i%2)*(width-left-right)/2
		at := top + height + bottom + legendLine*(i/2)
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`+"\n", x, at, palette()[i%len(palette())])
		text(b, float64(x+18), float64(at+11), "start", "", name)
	}
}

func text[N int | float64](b *bytes.Buffer, x N, y float64, anchor, more, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" %s>`, float64(x), y, anchor, more)
	_ = xml.EscapeText(b, []byte(s)) // a Buffer takes everything
	b.WriteString("</text>\n")
}
