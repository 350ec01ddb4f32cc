"""Trained on one dataset, or on several, and tested on another."""
