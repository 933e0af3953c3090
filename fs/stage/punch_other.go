//go:build !linux

package stage

import "os"

// punchHole is only known on Linux; elsewhere clean ranges stay until the file is closed.
func punchHole(*os.File, int64, int64) (ok bool, err error) { return false, nil }

// dataRanges takes the whole file for data.
func dataRanges(_ *os.File, size int64) ([]Range, error) {
	if size == 0 {
		return nil, nil
	}
	return []Range{{0, size}}, nil
}
