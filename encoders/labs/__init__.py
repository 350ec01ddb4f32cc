"""Towers of laboratory values."""
