"""The commands that bring results and lists of splits to others and back, bundles, and those that look after the cache."""
