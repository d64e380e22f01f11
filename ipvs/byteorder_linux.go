package ipvs

import "encoding/binary"

// The kernel's numbers that stand for bytes in network order are read and
// written as the bytes they are in memory.

func nativeBytes(n uint32) []byte {
	b := make([]byte, 4)
	binary.NativeEndian.PutUint32(b, n)
	return b
}

func nativeUint32(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// bigEndian reports whether the first byte of a number is its largest part.
func bigEndian() bool { return nativeUint32([]byte{0, 0, 0, 1}) == 1 }
