"""Columns of a board before anything is tested: measured on predictions that are here, or aggregated elsewhere."""
