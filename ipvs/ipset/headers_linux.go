package ipset

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"
)

// Headers implements HeaderLister. Entries is -1 where the kernel does not
// count them.
func (Netlink) Headers(ctx context.Context) ([]Header, error) {
	messages, err := listHeaders(ctx)
	if err != nil {
		return nil, err
	}
	var headers []Header
	for _, m := range messages {
		s, err := parseSet(m)
		if err != nil {
			return nil, fmt.Errorf("list ip sets: %w", err)
		}
		h := Header{Name: s.Name, Type: s.Type, Entries: -1}
		err = each(m[nl.SizeofNfgenmsg:], func(typ uint16, data []byte) error {
			if typ != nl.IPSET_ATTR_DATA {
				return nil
			}
			return each(data, func(typ uint16, v []byte) error {
				if typ == nl.IPSET_ATTR_ELEMENTS && len(v) == 4 {
					h.Entries = int(binary.BigEndian.Uint32(v))
				}
				return nil
			})
		})
		if err != nil {
			return nil, fmt.Errorf("list ip sets: %w", err)
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// listHeaders asks for all sets without their entries.
func listHeaders(ctx context.Context) ([][]byte, error) {
	const headersOnly = 1 << 2 // IPSET_FLAG_LIST_HEADER
	var a attributes
	a.uint32(nl.IPSET_ATTR_FLAGS, headersOnly)
	messages, err := execute(ctx, nl.IPSET_CMD_LIST, 0, a)
	if err != nil {
		return nil, fmt.Errorf("list ip sets: %w", explain(err, Set{}))
	}
	return messages, nil
}
