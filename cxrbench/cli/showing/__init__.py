"""The commands that draw images."""
