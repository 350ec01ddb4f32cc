"""Towers of 12-lead ECGs."""

MEASUREMENTS = "classical-1"
"""Version of ``features.ecg_embeddings``: another one whenever the same recordings give other numbers."""
