"""Commands that bring results and lists of splits to others and back, bundles, and care of the cache."""
