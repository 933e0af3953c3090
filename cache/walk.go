package cache

// walker recognises somebody who lists folder after folder.
type walker struct{ bytes int64 }

func (c *Cache) walkedLocked(dir string) {}
func (c *Cache) walkOnLocked(f *flight)  {}
func (c *Cache) usedLocked(n *node)      {}
func (c *Cache) vainLocked(n *node)      {}
