// Package ahead fetches the next small files of a folder for somebody who reads one after the other, as tar, cp -r, rsync and
// grep -r do. It stands between the rooms above and the pool: a download that was made ahead is answered from memory.
//
// A reader is recognised by three files of one folder in the order of its listing. Then the next ones are fetched by
// connections that nobody else needs: a reader with another order, or of one file, costs nothing. How far it goes
// follows from the reader's pace, and a byte budget bounds it.
//
// What was fetched is believed as an answer about attributes is: it is used once, while it is younger than the
// attribute TTL and the cache holds the very size and exact time that the file had. The server was asked for both in
// the flight of the download. Our own changes void it.
//
// Locks: Files.mu, then those of the cache. Files.mu is never held across the network.
package ahead
