"""The commands that bring results to others and back: results, bundle; and those that look after the cache."""
