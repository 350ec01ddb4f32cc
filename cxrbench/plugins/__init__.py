"""From names to objects: specs, entry points, and the checks that hold a plugin to its contract."""
