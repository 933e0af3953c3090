// Package stage keeps file content on the local disk until the server has it: sparse staging files with range maps, a
// journal, and recovery after a crash. It knows neither FUSE nor FTP.
//
// # On the disk
//
//	DIR/stage/SERVER/.lock             flocked while a run is created, adopted or removed
//	DIR/stage/SERVER/MOUNT.XXXX/lock   flocked as long as the run lives; free means: the run is dead
//	DIR/stage/SERVER/MOUNT.XXXX/N.data, N.meta, N.journal
//	DIR/recovery/                      content that nobody could upload, each with a text beside it
//
// SERVER is a digest of Config.Server, so that several mounts of one user share a state folder and each finds only the
// leftovers of its own server and root. A meta or journal file is a sequence of lines, each a checksum and a JSON object;
// the last good line counts and a torn tail is ignored.
//
// # What survives
//
// A killed process loses nothing that was written to a staging file. Whether the next run may upload it by itself is told
// by the meta file: File.Commit (a close or fsync begins) puts content and maps on the disk, File.Settle takes that back.
//
// Locks: File.mu before Store.mu; neither is held across the network, File.mu is held across local reads and writes.
package stage
