"""From files on disk, in their official layouts, to a Manifest: one row per image."""
