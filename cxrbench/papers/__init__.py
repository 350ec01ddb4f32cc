"""The papers whose tables can be asked for: one declarative file each, and the figures that they print."""
