"""A resized 8-bit copy of a dataset."""
