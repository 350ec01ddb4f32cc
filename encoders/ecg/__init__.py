"""Towers of 12-lead ECGs."""
