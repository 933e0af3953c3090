package options

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"net"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// The readers of values give errors that say what would have been right; the caller puts the option's name in front.

// duration reads 500ms, 10s, 2m, 1h, or a plain number of seconds.
func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if n, nerr := strconv.ParseFloat(s, 64); nerr == nil {
		d, err = time.Duration(n*float64(time.Second)), nil
		if math.IsNaN(n) || n > 1e9 {
			err = strconv.ErrRange
		}
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no time: write 10s, 500ms, 2m or a number of seconds", s)
	}
	return d, nil
}

// positive reads a duration above zero.
func positive(s string) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && d == 0 {
		return 0, fmt.Errorf("0 would give up at once: write 10s, 2m or a number of seconds")
	}
	return d, err
}

// size reads bytes: a number with K, M, G or T (powers of 1024), maybe followed by B or iB.
func size(s string) (int64, error) {
	bad := fmt.Errorf("%q is no size: write 512M, 10G or a number of bytes", s)
	num := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	unit := int64(1)
	if i := strings.IndexAny(num, "KMGT"); i >= 0 {
		if i != len(num)-1 {
			return 0, bad
		}
		unit = 1 << (10 * (strings.IndexByte("KMGT", num[i]) + 1))
		num = num[:i]
	} else if num != s {
		return 0, bad // "10iB" and "10B" say nothing that 10 does not
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/unit {
			return 0, bad
		}
		return n * unit, nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*float64(unit) >= math.MaxInt64 || unit == 1 {
		return 0, bad
	}
	return int64(f * float64(unit)), nil
}

// atLeast reads a size that must not be below low.
func atLeast(s string, low int64, lowText string) (int64, error) {
	n, err := size(s)
	if err == nil && n < low {
		return 0, fmt.Errorf("%q is too small: at least %s", s, lowText)
	}
	return n, err
}

// number reads a decimal number between lo and hi.
func number(s string, lo, hi int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("%q is no number from %d to %d", s, lo, hi)
	}
	return n, nil
}

// oneOf looks a word up.
func oneOf[T any](s string, words map[string]T, list string) (T, error) {
	v, ok := words[s]
	if !ok {
		return v, fmt.Errorf("%q is not known: write %s", s, list)
	}
	return v, nil
}

// pin reads sha256:HEX, or curl's sha256//BASE64.
func pin(s string) ([]byte, error) {
	b64, ok := strings.CutPrefix(s, "sha256//")
	if !ok {
		return trust.ParsePin(s)
	}
	sum, err := base64.StdEncoding.DecodeString(b64)
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%q is not the base64 form of 32 bytes", s)
	}
	return sum, nil
}

// list reads names that colons separate, looking each up in table.
func list[T any](s, what string, table map[string]T) ([]T, error) {
	var all []T
	for _, name := range strings.Split(s, ":") {
		v, ok := table[name]
		if !ok {
			return nil, fmt.Errorf("%q is no %s: write one or more of %s, with colons between", name, what, strings.Join(slices.Sorted(maps.Keys(table)), " "))
		}
		all = append(all, v)
	}
	return all, nil
}

// curves reads key exchanges.
func curves(s string) ([]tls.CurveID, error) {
	return list(s, "key exchange", map[string]tls.CurveID{
		"X25519": tls.X25519, "P-256": tls.CurveP256, "P-384": tls.CurveP384, "P-521": tls.CurveP521, "X25519MLKEM768": tls.X25519MLKEM768,
	})
}

// ciphers reads the names of cipher suites that package tls thinks safe and that belong to TLS 1.2: in 1.3 there is no choice.
func ciphers(s string) ([]uint16, error) {
	table := map[string]uint16{}
	for _, c := range tls.CipherSuites() {
		if slices.Contains(c.SupportedVersions, tls.VersionTLS12) {
			table[c.Name] = c.ID
		}
	}
	return list(s, "cipher suite", table)
}

// ports reads LO-HI.
func ports(s string) ([2]int, error) {
	lo, hi, ok := strings.Cut(s, "-")
	if !ok {
		hi = lo
	}
	l, lerr := number(lo, 1, 65535)
	h, herr := number(hi, 1, 65535)
	if lerr != nil || herr != nil || l > h {
		return [2]int{}, fmt.Errorf("%q is no range of ports: write 50000-50100", s)
	}
	return [2]int{l, h}, nil
}

// address reads an IP address.
func address(s string) (net.IP, error) {
	ip := net.ParseIP(s)
	if ip == nil || ip.IsUnspecified() {
		return nil, fmt.Errorf("%q is no IP address that a server could call", s)
	}
	return ip, nil
}

// octal reads permission bits.
func octal(s string) (*uint32, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return nil, fmt.Errorf("%q is no set of permission bits: write an octal number such as 022", s)
	}
	v := uint32(n)
	return &v, nil
}

// uid reads a number or the name of a user.
func uid(s string) (*uint32, error) {
	return id(s, "user", func() (string, error) {
		u, err := user.Lookup(s)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// gid reads a number or the name of a group.
func gid(s string) (*uint32, error) {
	return id(s, "group", func() (string, error) {
		g, err := user.LookupGroup(s)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func id(s, what string, lookup func() (string, error)) (*uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		num, lerr := lookup()
		if lerr != nil {
			return nil, fmt.Errorf("%q is no %s of this machine: write a number or a name", s, what)
		}
		n, err = strconv.ParseUint(num, 10, 32)
	}
	// The highest id means "leave as it is" to chown(2) and is never anybody's.
	if err != nil || n == math.MaxUint32 {
		return nil, fmt.Errorf("%q is no %s id", s, what)
	}
	v := uint32(n)
	return &v, nil
}
