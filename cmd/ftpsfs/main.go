// Command ftpsfs mounts an FTPS server.
package main

func main() {}
