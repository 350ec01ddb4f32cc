"""Cells: what is to do, doing it, keeping it."""
