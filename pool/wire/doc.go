// Package wire is the control line of an FTP session: framing, replies, deadlines, flights of pipelined commands,
// redaction. It has no policy and knows nothing of files.
package wire
