// Package sites reads named servers from the configuration files, and imports them from FileZilla. A file is a list of
// sections:
//
//	[work]
//	url = ftps://joe@ftp.example.com/projects
//	mountpoint = ~/work
//	options = max_conns=4,ro
//	cacert = /etc/ssl/work.pem
//
// Every key but url, mountpoint and options is the name of an -o option; one without a value (ro) stands alone on its line.
package sites
