"""Towers of text: BERT folders and report tokens."""
