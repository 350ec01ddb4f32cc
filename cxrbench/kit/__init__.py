"""For who writes a plugin: is it right, and where to begin. What runs an evaluation knows nothing of it."""
