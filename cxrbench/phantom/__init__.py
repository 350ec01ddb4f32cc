"""The phantom: procedural chest X-rays on disk in the official layouts, for when there is no real data."""
