"""Commands that draw: ``embed-map``, ``plot``."""
