package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// A document is one of the documents of a file, as JSON.
type document struct {
	place
	json []byte
}

// A place is where a document stands.
type place struct {
	file string
	// number and line count from 1; line 0 is unknown.
	number, line int
}

func (p place) String() string {
	return p.file + ", " + p.inFile()
}

func (p place) inFile() string {
	s := fmt.Sprintf("document %d", p.number)
	if p.line > 0 {
		s += fmt.Sprintf(", line %d", p.line)
	}
	return s
}

// A syntaxError is text that is no document.
type syntaxError struct {
	place
	reason string
}

// documents splits a file. What cannot be read is in the errors; the documents
// are the others. YAML and JSON are told apart by their first character.
func documents(file string, data []byte) ([]document, []syntaxError) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if at := notText(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		return nil, []syntaxError{{place{file, 1, line}, "is not UTF-8 text: save it as UTF-8"}}
	}
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		docs, errs := jsonDocuments(file, data)
		if len(errs) == 0 || strings.EqualFold(filepath.Ext(file), ".json") {
			return docs, errs
		}
		// Braces are YAML, too.
	}
	return yamlDocuments(file, data)
}

// notText is the position of the first byte that cannot be text; -1 if none.
func notText(data []byte) int {
	if nul := bytes.IndexByte(data, 0); nul >= 0 {
		return nul
	}
	if utf8.Valid(data) {
		return -1
	}
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// jsonDocuments reads JSON values one after the other. Nothing that follows an
// error can be read.
func jsonDocuments(file string, data []byte) (docs []document, errs []syntaxError) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	at := place{file, 0, 1}
	counted := 0
	countTo := func(offset int) {
		offset = min(max(offset, counted), len(data))
		at.line += bytes.Count(data[counted:offset], []byte("\n"))
		counted = offset
	}
	for {
		at.number++
		start := int(decoder.InputOffset())
		start += len(data[start:]) - len(bytes.TrimLeft(data[start:], " \t\r\n"))
		countTo(start)
		var raw json.RawMessage
		switch err := decoder.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
				countTo(int(syntax.Offset))
			} else {
				countTo(len(data))
			}
			return docs, []syntaxError{{at, "is not JSON: " + err.Error()}}
		}
		docs = append(docs, document{at, raw})
	}
}

// yamlDocuments splits at the lines that begin with "---" and converts each
// document by itself, so that one that is broken leaves the others readable.
func yamlDocuments(file string, data []byte) (docs []document, errs []syntaxError) {
	at := place{file, 0, 1}
	for _, text := range splitYAML(data) {
		here := place{file, at.number + 1, at.line + blankLines(text)}
		lines := bytes.Count(text, []byte("\n"))
		if blankYAML(text) {
			at.line += lines
			continue
		}
		at.number++
		converted, err := yaml.YAMLToJSONStrict(text)
		switch {
		case err != nil:
			errs = append(errs, yamlError(here, at.line, text, err))
		case string(bytes.TrimSpace(converted)) != "null":
			docs = append(docs, document{here, converted})
		}
		at.line += lines
	}
	return docs, errs
}

// splitYAML cuts the text before each document marker. Joined, the parts are
// the text, but for the markers' dashes, which are blanked out.
func splitYAML(data []byte) [][]byte {
	var parts [][]byte
	start := 0
	for at := 0; at < len(data); {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if isMarker(data[at:end]) {
			parts = append(parts, data[start:at])
			start = at
		}
		at = end
	}
	parts = append(parts, data[start:])
	for i, part := range parts {
		if isMarker(part) {
			parts[i] = append([]byte("   "), part[3:]...)
		}
	}
	return parts
}

// isMarker reports whether a line begins a document: "---" and a blank.
func isMarker(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// blankYAML reports whether a part has only comments and directives.
func blankYAML(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "..." {
			return false
		}
	}
	return true
}

// blankLines counts the lines before the first one with content.
func blankLines(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			break
		}
		n++
	}
	return n
}

// yamlLine is how the YAML parser names a line, relative to the document.
func yamlLine(message string) (int, bool) {
	found := regexp.MustCompile(`\bline (\d+): `).FindStringSubmatch(message)
	if found == nil {
		return 0, false
	}
	n, err := strconv.Atoi(found[1])
	return n, err == nil && n > 0
}

// yamlError puts the parser's message in terms of the file. first is the
// file's line on which text begins.
func yamlError(at place, first int, text []byte, err error) syntaxError {
	message := strings.Join(strings.Fields(err.Error()), " ")
	for _, prefix := range []string{"error converting YAML to JSON: ", "yaml: ", "unmarshal errors: "} {
		message = strings.TrimPrefix(message, prefix)
	}
	if n, ok := yamlLine(message); ok {
		at.line = first + n - 1
		message = strings.TrimPrefix(message, fmt.Sprintf("line %d: ", n))
		if lines := bytes.SplitN(text, []byte("\n"), n+1); n <= len(lines) && tabIndented(lines[n-1]) {
			message += " (the line is indented with a tab; YAML allows spaces only)"
		}
	}
	if len(message) > 300 {
		message = message[:300] + "..."
	}
	return syntaxError{at, "is not YAML: " + message}
}

func tabIndented(line []byte) bool {
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	return bytes.IndexByte(indent, '\t') >= 0
}
