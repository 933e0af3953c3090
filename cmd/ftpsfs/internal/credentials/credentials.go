package credentials

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// EnvPassword is the environment variable that may hold the password.
const EnvPassword = "FTPSFS_PASSWORD"

// Request says whose password is wanted and where to look.
type Request struct {
	Host     string
	Port     int
	User     string // "" when the URL names none
	Password options.Secret
	HasPass  bool // the URL holds a password

	PasswordFile string
	Askpass      string // program that prints the password
	Netrc        string // "" is $NETRC, then ~/.netrc

	// EnvPassword is the value that FTPSFS_PASSWORD had: by the time this runs it is no longer in the environment.
	EnvPassword options.Secret
	Getenv      func(string) string // for CREDENTIALS_DIRECTORY, NETRC and HOME
	Keyring     Keyring             // nil: none
	Terminal    Terminal            // nil: nobody to ask
	// Certificate: a client certificate is configured, which may be all that the server wants: nobody is asked.
	Certificate bool
}

// Found is a user name and a password, and where they come from.
type Found struct {
	User     string
	Password options.Secret
	Account  string // from netrc, "" none
	// HasPassword is false for a login by certificate alone.
	HasPassword bool
	Source      string // for the log: "the URL", "password_file /etc/x", ...
}

// Terminal asks the user. secret input is not shown.
type Terminal interface {
	Ask(ctx context.Context, question string, secret bool) (string, error)
}

// Keyring is the desktop's store of secrets. ErrNotFound when it has none, or when there is no keyring.
type Keyring interface {
	Get(ctx context.Context, user, host string, port int) (string, error)
}

// ErrNotFound says that a source has no password for this server, which is no failure.
var ErrNotFound = errors.New("no such secret")

// source is one place to look: ErrNotFound lets the next one have its turn, any other error ends the search.
type source func(ctx context.Context, r *Request) (Found, error)

// sources are the places in their order of precedence. It is a promise to users.
var sources = []source{fromURL, fromFile, fromEnv, fromSystemd, fromNetrc, anonymous, fromKeyring, fromAskpass, fromCertificate, fromTerminal}

// Find gives the first password that exists.
func Find(ctx context.Context, r Request) (Found, error) {
	for _, from := range sources {
		f, err := from(ctx, &r)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Found{}, err
		}
		if f.User == "" {
			f.User = r.User
		}
		if f.User == "" {
			return Found{}, exitcode.NewUsage("there is a password from "+f.Source+" and no user for it", "write ftps://USER@HOST/PATH")
		}
		return f, check(f)
	}
	return Found{}, exitcode.NewMount("no password for "+r.account(), nil,
		"write it into a file of mode 600 and add -o password_file=FILE, or start ftpsfs on a terminal to be asked")
}

// account is how the user sees whose password it is.
func (r *Request) account() string {
	if r.Port == 21 || r.Port == 0 {
		return r.User + "@" + r.Host
	}
	return r.User + "@" + net.JoinHostPort(r.Host, strconv.Itoa(r.Port))
}

// check refuses what would end a line of the dialogue and smuggle in a command.
func check(f Found) error {
	for _, s := range []string{f.User, string(f.Password), f.Account} {
		for i := 0; i < len(s); i++ {
			if c := s[i]; c == '\r' || c == '\n' || c == 0 {
				return exitcode.NewUsage("the user name or password from "+f.Source+" holds a line break or NUL, which FTP cannot carry", "")
			}
		}
	}
	return nil
}

func fromURL(_ context.Context, r *Request) (Found, error) {
	if !r.HasPass {
		return Found{}, ErrNotFound
	}
	return Found{Password: r.Password, HasPassword: true, Source: "the URL"}, nil
}

func fromEnv(_ context.Context, r *Request) (Found, error) {
	if r.EnvPassword == "" || r.User == "" {
		return Found{}, ErrNotFound
	}
	return Found{Password: r.EnvPassword, HasPassword: true, Source: EnvPassword}, nil
}

// anonymous is who we are when neither the URL nor netrc name a user.
func anonymous(_ context.Context, r *Request) (Found, error) {
	switch r.User {
	case "", "anonymous", "ftp":
		user := r.User
		if user == "" {
			user = "anonymous"
		}
		return Found{User: user, Password: "ftpsfs@", HasPassword: true, Source: "the anonymous account"}, nil
	}
	return Found{}, ErrNotFound
}

// fromCertificate leaves the password out: a server that knows the certificate needs none (RFC 4217 section 13).
func fromCertificate(_ context.Context, r *Request) (Found, error) {
	if !r.Certificate {
		return Found{}, ErrNotFound
	}
	return Found{Source: "the client certificate, without a password"}, nil
}

func fromTerminal(ctx context.Context, r *Request) (Found, error) {
	if r.Terminal == nil {
		return Found{}, ErrNotFound
	}
	p, err := r.Terminal.Ask(ctx, fmt.Sprintf("Password for %s: ", r.account()), true)
	if err != nil {
		return Found{}, exitcode.NewMount("no password was entered for "+r.account(), err, "")
	}
	return Found{Password: options.Secret(p), HasPassword: true, Source: "the terminal"}, nil
}
