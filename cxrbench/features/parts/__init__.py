"""Parts of a cache entry of pooled features: rows that several workers extract at once, and that are joined."""
