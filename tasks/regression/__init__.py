"""Regression protocols: numbers predicted from frozen embeddings."""
