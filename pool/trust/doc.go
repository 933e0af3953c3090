// Package trust decides which server is believed and makes the TLS configurations that follow: roots, pins, client
// certificates, versions, and the session stores that let a data channel resume its own control session.
// It knows no FTP.
package trust
