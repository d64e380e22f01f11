package testenv_test

import (
	"os"
	"strings"
	"testing"
)

// Where a folder is another user's, git tells nothing about it, and go build fails
// if it asks.
func TestMakeBuildsInSomebodyElsesFolder(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	builds := 0
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "$(GO) build") {
			continue
		}
		builds++
		if !strings.Contains(line, " -buildvcs=false ") {
			t.Errorf("this asks git: %s", line)
		}
	}
	if builds == 0 {
		t.Error("nothing is built")
	}
}
