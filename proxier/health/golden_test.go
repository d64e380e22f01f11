package health

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// compareGolden compares a response with testdata/NAME.http: status line,
// headers and body.
func compareGolden(t *testing.T, name string, got *httptest.ResponseRecorder) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", got.Code, http.StatusText(got.Code))
	var headers []string
	for key, values := range got.Header() {
		headers = append(headers, key+": "+strings.Join(values, ", "))
	}
	slices.Sort(headers)
	fmt.Fprintf(&b, "%s\n\n%s", strings.Join(headers, "\n"), got.Body)
	path := filepath.Join("testdata", name+".http")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, b.String(), want)
	}
}

// ask has a handler answer a request that comes from this host.
func ask(handler http.Handler, method, path string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, path, nil)
	request.RemoteAddr = "127.0.0.1:40000"
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w
}
