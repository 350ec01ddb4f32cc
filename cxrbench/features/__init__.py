"""Every image meets every encoder once: extraction, caches, dense maps."""
