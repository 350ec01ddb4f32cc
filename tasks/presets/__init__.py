"""The papers' evaluation recipes."""
