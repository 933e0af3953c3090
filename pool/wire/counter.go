package wire

import "context"

// Counter is told what goes over the line. Its methods are called from many goroutines and must not block.
type Counter interface {
	// Command is called for each command sent, with its name in upper case ("RETR", "SITE CHMOD").
	Command(name string)
	// Wait is called for each time somebody waited for the peer: a round trip. background: nobody in the foreground
	// waits.
	Wait(background bool)
}

type backgroundKey struct{}

// Background marks ctx as one of work that no caller waits for (keep-alive, speculation, spare channels).
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// IsBackground tells whether ctx was marked by Background.
func IsBackground(ctx context.Context) bool {
	b, _ := ctx.Value(backgroundKey{}).(bool)
	return b
}
