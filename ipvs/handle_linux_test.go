package ipvs

import (
	"bytes"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

// What the library has to say when it finds no modprobe, or no IPVS, is no line
// of our log.
func TestTheLibraryIsSilent(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var said bytes.Buffer
	logrus.SetOutput(&said)
	handle, err := newHandle()
	if err != nil {
		t.Fatal(err)
	}
	handle.Close()
	if said.Len() > 0 {
		t.Errorf("it says %q", said.String())
	}
}

// The mode is refused where every weight would be read as 0, so that all real
// servers would seem to drain.
func TestBigEndianMachinesAreRefused(t *testing.T) {
	if big := slices.Contains([]string{"s390x", "ppc64", "mips", "mips64"}, runtime.GOARCH); bigEndian() != big {
		t.Errorf("%s is big-endian: %t", runtime.GOARCH, bigEndian())
	}
	if err := weightsAreRead(false); err != nil {
		t.Error(err)
	}
	if err := weightsAreRead(true); err == nil || !strings.Contains(err.Error(), "big-endian") || !strings.Contains(err.Error(), runtime.GOARCH) {
		t.Errorf("the error is %v", err)
	}
}
