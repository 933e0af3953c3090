package options

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// absolute is filepath.Abs, under a name that the table can use.
func absolute(name string) (string, error) { return filepath.Abs(name) }

// account reads what ACCT sends: anything that stays on one line.
func account(s string) (string, error) {
	if s == "" || slices.ContainsFunc([]byte(s), unsendable) {
		return "", errors.New("the account is empty or holds a byte that FTP cannot carry")
	}
	return s, nil
}

// known reports whether an option of this name means something here, be it that it is refused with a reason.
func known(name string) bool {
	_, isLater := later[name]
	_, isForeign := foreign[strings.ToLower(name)]
	_, isKernel := kernel[name]
	return isLater || isForeign || isKernel || ignored[name] || isExtension(name) ||
		slices.ContainsFunc(table, func(r row) bool { return r.name == name })
}

// isExtension tells the options that are there for other programs: systemd's x-systemd.*, comments of installers.
func isExtension(name string) bool {
	return strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-")
}

// applyItem sets one option; it wins over earlier ones.
func (o *Options) applyItem(item string) error {
	name, value, hasValue := strings.Cut(item, "=")
	if i := slices.IndexFunc(table, func(r row) bool { return r.name == name }); i >= 0 {
		return o.applyRow(table[i], value, hasValue)
	}
	if name == "user" && strings.Contains(value, ":") {
		return exitcode.NewUsage("option user= with a password: other users can read it in the process list",
			"write the user into the URL and the password into password_file=FILE")
	}
	if ignored[name] || isExtension(name) {
		o.undoKernel(name)
		return nil
	}
	if _, ok := kernel[name]; ok && !hasValue {
		if !slices.Contains(o.Kernel, name) {
			o.Kernel = append(o.Kernel, name)
		}
		return nil
	}
	return refuse(name)
}

// undoKernel takes back what an earlier option asked of the kernel: noexec,...,exec.
func (o *Options) undoKernel(name string) {
	o.Kernel = slices.DeleteFunc(o.Kernel, func(k string) bool { return kernel[k] == name })
	if name == "defaults" {
		o.Kernel = nil
	}
}

func (o *Options) applyRow(r row, value string, hasValue bool) error {
	switch {
	case r.flag != nil && hasValue:
		return exitcode.NewUsage("option "+r.name+" takes no value", "write -o "+r.name)
	case r.flag != nil:
		r.flag(o)
		return nil
	case !hasValue || value == "":
		return exitcode.NewUsage("option "+r.name+" needs a value", "write -o "+r.name+r.arg)
	}
	if err := r.value(o, value); err != nil {
		return exitcode.NewUsage("option "+r.name+": "+err.Error(), "")
	}
	return nil
}

// refuse names an option that is not known, and what to do about it. The value is never repeated: it may be a secret.
func refuse(name string) error {
	if why, ok := later[name]; ok {
		return exitcode.NewUsage("option "+name+": "+why, "")
	}
	if why, ok := foreign[strings.ToLower(name)]; ok {
		return exitcode.NewUsage(fmt.Sprintf("option %q is not one of ftpsfs", name), why)
	}
	todo := "`ftpsfs help` lists the options"
	if near := nearest(name, names()); near != "" {
		todo = "did you mean " + near + "?"
	}
	return exitcode.NewUsage(fmt.Sprintf("unknown option %q", name), todo)
}

// finish compares the options with each other and with the URL, once all are read.
func (o *Options) finish() error {
	t := &o.Target
	switch {
	case !o.tlsGiven && t.Implicit:
		o.TLS = session.TLSImplicit
	case o.tlsGiven && o.TLS == session.TLSImplicit && t.Explicit:
		return exitcode.NewUsage("ftpes:// is explicit TLS, and -o tls=implicit is not", "write ftps://, or leave tls=implicit out")
	case o.tlsGiven && o.TLS == session.TLSImplicit && !t.Implicit && t.Port == 21 && !t.portGiven:
		t.Port, t.Implicit = 990, true
	}
	if o.AllowOther {
		o.DefaultPermissions = true
	}
	if o.Trust.CertFile != "" && o.Trust.KeyFile == "" {
		o.Trust.KeyFile = o.Trust.CertFile // one file with both, as many authorities hand them out
	}
	return o.conflicts()
}

// conflicts refuses options that exclude each other.
func (o *Options) conflicts() error {
	tr := o.Trust
	switch {
	case tr.KeyFile != "" && tr.CertFile == "":
		return exitcode.NewUsage("option key without cert", "write -o cert=FILE,key=FILE")
	case tr.MinVersion != 0 && tr.MaxVersion != 0 && tr.MinVersion > tr.MaxVersion:
		return exitcode.NewUsage("option tls_min is above tls_max", "leave one of them out")
	case tr.Insecure && len(tr.Pins) > 0:
		return exitcode.NewUsage("options insecure_skip_verify and pin exclude each other", "leave insecure_skip_verify out: the pin is the check")
	case tr.Insecure && tr.Mode != 0:
		return exitcode.NewUsage("options insecure_skip_verify and trust exclude each other", "leave insecure_skip_verify out")
	case tr.Insecure && tr.CACert != "":
		return exitcode.NewUsage("options insecure_skip_verify and cacert exclude each other", "leave insecure_skip_verify out: the CA is the check")
	case !o.Active && o.ActivePorts != [2]int{}:
		return exitcode.NewUsage("option active_ports without mode=active", "add mode=active")
	case !o.Active && o.ActiveAddr != nil:
		return exitcode.NewUsage("option active_addr without mode=active", "add mode=active")
	case o.Active && o.TrustPASVAddress:
		return exitcode.NewUsage("option pasv_addr with mode=active", "leave one of them out")
	case o.CCC && o.ProtClear:
		return exitcode.NewUsage("options ccc and prot=C together would protect nothing but the login", "leave one of them out")
	}
	return nil
}

// CheckItem reports what is wrong with one option, as far as it can be told without the others.
func CheckItem(item string) error {
	var o Options
	for _, i := range splitList(item) {
		if err := o.applyItem(i); err != nil {
			return err
		}
	}
	return nil
}
