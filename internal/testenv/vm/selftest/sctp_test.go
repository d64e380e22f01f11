package selftest

import (
	"os"
	"syscall"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/internal/testenv/vm"
)

// sctp is IPPROTO_SCTP, which package syscall lacks.
const sctp = 132

// An association on loopback: one socket listens, another connects and is heard.
func TestSCTPSocketsTalk(t *testing.T) {
	vm.Need(t)
	host := testenv.StartCluster(t).Client()
	if err := host.Do(func() error {
		server, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, sctp)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer syscall.Close(server)
		at := &syscall.SockaddrInet4{Port: 5000, Addr: [4]byte{127, 0, 0, 1}}
		if err := syscall.Bind(server, at); err != nil {
			return os.NewSyscallError("bind", err)
		}
		if err := syscall.Listen(server, 1); err != nil {
			return os.NewSyscallError("listen", err)
		}
		client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, sctp)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		defer syscall.Close(client)
		if err := syscall.Connect(client, at); err != nil {
			return os.NewSyscallError("connect", err)
		}
		if _, err := syscall.Write(client, []byte("hello")); err != nil {
			return os.NewSyscallError("write", err)
		}
		conn, _, err := syscall.Accept(server)
		if err != nil {
			return os.NewSyscallError("accept", err)
		}
		defer syscall.Close(conn)
		buffer := make([]byte, 16)
		n, err := syscall.Read(conn, buffer)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if have := string(buffer[:n]); have != "hello" {
			t.Errorf("have %q, want hello", have)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
