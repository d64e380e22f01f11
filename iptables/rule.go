package iptables

import (
	"fmt"
	"net/netip"
	"strings"
)

// rule is a rule about to be written. Its fields are printed in the order in
// which iptables-save prints them, so that text from here and text from the
// kernel can be compared.
type rule struct {
	src, dst       netip.Prefix
	notSrc, notDst bool
	in             string // interface, with a trailing + for a prefix
	notIn          bool
	protocol       string // in lower case
	comment        string
	// matches are complete, such as "-m mark --mark 0x4000/0x4000".
	matches []string
	// target is complete, such as "-j KUBE-MARK-MASQ".
	target string
}

// String is the rule without "-A CHAIN ".
func (r rule) String() string {
	line := make([]byte, 0, 256) // long enough for most, so that only the text itself is allocated
	word := func(s string) {
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = append(line, s...)
	}
	option := func(not bool, flag, value string) {
		if value == "" {
			return
		}
		if not {
			word("!")
		}
		word(flag)
		word(value)
	}
	option(r.notSrc, "-s", prefixText(r.src))
	option(r.notDst, "-d", prefixText(r.dst))
	option(r.notIn, "-i", r.in)
	option(false, "-p", r.protocol)
	if r.comment != "" {
		word("-m comment --comment")
		word(quote(r.comment))
	}
	for _, m := range r.matches {
		word(m)
	}
	word(r.target)
	return string(line)
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// maxComment is XT_MAX_COMMENT_LEN of linux/netfilter/xt_comment.h without the
// final NUL.
const maxComment = 255

// quote writes a comment as iptables-save does: bare when it is one plain word,
// else in quotes with ", \ and ' escaped. Names come from API objects and from
// files, so that whatever could end the line or the argument is replaced.
func quote(comment string) string {
	var b strings.Builder
	plain, length := true, 0
	for _, c := range []byte(comment) {
		if length == maxComment {
			break
		}
		if c < 0x20 || c > 0x7e {
			c = '?'
		}
		if !isPlain(c) {
			plain = false
		}
		if c == '"' || c == '\\' || c == '\'' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
		length++
	}
	if plain {
		return b.String()
	}
	return `"` + b.String() + `"`
}

func isPlain(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// dport matches the destination port, or a range of them.
func dport(protocol string, first, last uint16) string {
	if first == last {
		return fmt.Sprintf("-m %s --dport %d", protocol, first)
	}
	return fmt.Sprintf("-m %s --dport %d:%d", protocol, first, last)
}

func jump(chain string) string { return "-j " + chain }

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// The matches and targets that stand in more than one place.
const (
	ctNew    = "-m conntrack --ctstate NEW"
	dstLocal = "-m addrtype --dst-type LOCAL"
	srcLocal = "-m addrtype --src-type LOCAL"
)

// random matches with probability n/of, as exactly as the kernel keeps it: in
// units of 1/2^31 (linux/netfilter/xt_statistic.h), printed with the 11
// decimals of iptables-save.
func random(n, of int) string {
	const unit = 1 << 31
	p := (uint64(n)*unit + uint64(of)/2) / uint64(of)
	return fmt.Sprintf("-m statistic --mode random --probability %.11f", float64(p)/unit)
}
