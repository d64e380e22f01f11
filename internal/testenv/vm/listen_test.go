package vm

import (
	"bytes"
	"encoding/gob"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv/vm/wire"
)

func TestListenEndsWithTheLastMessage(t *testing.T) {
	ready := wire.Message{Ready: true}
	output := wire.Message{Output: []byte("hello\n")}
	ended := Exit{Status: 3, Took: 5}
	exit := wire.Message{Exit: &ended}
	for _, test := range []struct {
		name      string
		messages  []wire.Message
		exits     []Exit
		output    string
		wantError string
	}{
		{"all commands ran", []wire.Message{ready, output, exit, exit, {Done: true}}, []Exit{ended, ended}, "hello\n", ""},
		{"nothing to run", []wire.Message{ready, {Done: true}}, nil, "", ""},
		{"never booted", nil, nil, "", "the guest did not boot"},
		{"died before a command ended", []wire.Message{ready, output}, nil, "hello\n", "it ended before its commands did"},
		{"died after a command ended", []wire.Message{ready, exit}, []Exit{ended}, "", "it ended before its commands did"},
		{"cannot begin", []wire.Message{ready, {Failure: "no such module"}, {Done: true}}, nil, "", "no such module"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stream, out bytes.Buffer
			encoder := gob.NewEncoder(&stream)
			for _, m := range test.messages {
				if err := encoder.Encode(m); err != nil {
					t.Fatal(err)
				}
			}
			isReady := false
			exits, err := listen(&stream, Watcher{Output: &out}, func() { isReady = true })
			if have := errorText(err); have != test.wantError {
				t.Errorf("error %q, want %q", have, test.wantError)
			}
			if !reflect.DeepEqual(exits, test.exits) || out.String() != test.output {
				t.Errorf("exits %v and output %q, want %v and %q", exits, out.String(), test.exits, test.output)
			}
			if want := len(test.messages) > 0; isReady != want {
				t.Errorf("ready is %v, want %v", isReady, want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestLastLinesAreFreeOfTerminalCodes(t *testing.T) {
	console := "\x1bc\x1b[?7l\x1b[2Jfirst\r\nsecond\r\n\x1b[0mthird\x00\r\n\r\n"
	for limit, want := range map[int]string{1: "third", 2: "second|third", 9: "first|second|third"} {
		if have := strings.Join(lastLines(console, limit), "|"); have != want {
			t.Errorf("last %d lines are %q, want %q", limit, have, want)
		}
	}
}

func TestSummaryReadsLikeGoTest(t *testing.T) {
	for want, exit := range map[string]Exit{
		"ok  \ta/b\t1.500s": {Status: 0, Took: 1500e6},
		"FAIL\ta/b\t0.000s": {Status: 1},
	} {
		if have := summary("a/b", exit); have != want {
			t.Errorf("%+v: %q, want %q", exit, have, want)
		}
	}
}

func TestOneFailedPackageFailsTheSuite(t *testing.T) {
	for name, test := range map[string]struct {
		exits []Exit
		want  error
	}{
		"all passed":     {[]Exit{{}, {}}, nil},
		"one failed":     {[]Exit{{}, {Status: 1}, {}}, ErrTestsFailed},
		"one was killed": {[]Exit{{Status: 137}}, ErrTestsFailed},
	} {
		if err := verdict(test.exits); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
