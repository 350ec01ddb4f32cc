"""Looking into an encoder: cases of a finished cell with maps over them, and where a sentence looks."""
