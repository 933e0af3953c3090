//go:build !linux

package daemon

import "errors"

// EnterNamespace fails: only Linux has mount namespaces.
func EnterNamespace(string, []string) error { return errors.ErrUnsupported }
