// Package credentials finds the user name and the password for a server: in the URL, a file, the environment, systemd's
// credentials, netrc, the desktop's keyring, or by asking. It sends nothing anywhere and logs the source, never the secret.
package credentials
