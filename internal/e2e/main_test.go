package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// programVariable names an environment variable: the program to be tested,
// where it is not to be built from this module.
const programVariable = "KUBE_PROXIER_PROGRAM"

// shared is what all tests use; see common.
var shared struct {
	dir  string
	once sync.Once
	err  error

	program string
	kube    *testenv.Kube
	client  kubernetes.Interface
}

// atOnce is how many tests run in parallel, unless -parallel says it: they
// wait for most of the time.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kube-proxier-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	code := m.Run()
	if shared.kube != nil {
		if err := shared.kube.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close the API server:", err)
			return 1
		}
	}
	return code
}

// common builds the program and starts the API server, once.
func common(t *testing.T) {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.KubeAPI)
	shared.once.Do(func() {
		shared.err = errors.Join(buildProgram(), startKube())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
}

func buildProgram() error {
	if program := os.Getenv(programVariable); program != "" {
		shared.program = program
		return nil
	}
	shared.program = filepath.Join(shared.dir, "kube-proxier")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", shared.program, "github.com/kube-proxier/kube-proxier/cmd/kube-proxier")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, output)
	}
	return nil
}

func startKube() (err error) {
	if shared.kube, err = testenv.NewKube(context.Background(), shared.dir); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", shared.kube.Kubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit
	config.WarningHandler = rest.NoWarnings{}
	shared.client, err = kubernetes.NewForConfig(config)
	return err
}
