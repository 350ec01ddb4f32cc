"""Tasks that end in a score per label."""
