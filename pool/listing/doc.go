// Package listing reads what servers say of files: MLSD and MLST facts (RFC 3659 section 7) and the LIST dialects.
// Pure functions, no I/O, fuzzed.
package listing
