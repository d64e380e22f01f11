package ipvs

import (
	"bytes"
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
