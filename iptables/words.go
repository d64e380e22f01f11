package iptables

import (
	"fmt"
	"strings"
)

// AppendWords cuts a rule into its words as iptables-restore(8) does: spaces
// separate, a word in double quotes may hold spaces, and a backslash in quotes
// takes the character after it literally. Words are appended to buf. What
// iptables-save prints is no error.
func AppendWords(buf []string, s string) ([]string, error) {
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return buf, nil
		}
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			if strings.ContainsRune(word, '"') {
				return nil, fmt.Errorf("quote inside the word %s", word)
			}
			buf, s = append(buf, word), rest
			continue
		}
		word, rest, err := quotedWord(s[1:])
		if err != nil {
			return nil, err
		}
		buf, s = append(buf, word), rest
	}
}

// quotedWord reads up to the closing quote; s begins after the opening one.
func quotedWord(s string) (word, rest string, err error) {
	end := strings.IndexAny(s, `"\`)
	if end >= 0 && s[end] == '"' { // the usual case: nothing escaped, no copy
		word, rest = s[:end], s[end+1:]
	} else if word, rest, err = escapedWord(s); err != nil {
		return "", "", err
	}
	if rest != "" && rest[0] != ' ' {
		return "", "", fmt.Errorf("no space after the quoted word %q", word)
	}
	return word, rest, nil
}

func escapedWord(s string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("no closing quote after %q", s)
}
