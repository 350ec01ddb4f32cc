"""The phantom in the layouts of downloads with masks."""
