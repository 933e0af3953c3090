package stage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// punchHole releases a range of a file, whose size stays. ok is false where the file system cannot.
func punchHole(f *os.File, off, n int64) (ok bool, err error) {
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return true, nil
}

// dataRanges lists the parts of a file that are not holes, at the file system's granularity.
func dataRanges(f *os.File, size int64) ([]Range, error) {
	var out []Range
	for off := int64(0); off < size; {
		from, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, &os.PathError{Op: "lseek", Path: f.Name(), Err: err}
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return nil, &os.PathError{Op: "lseek", Path: f.Name(), Err: err}
		}
		out = append(out, Range{from, min(to, size) - from})
		off = to
	}
	return out, nil
}
