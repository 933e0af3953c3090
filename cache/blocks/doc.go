// Package blocks holds file data in memory under one budget for the whole mount: windows, cached blocks, replay.
package blocks
