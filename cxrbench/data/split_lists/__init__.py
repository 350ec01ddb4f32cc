"""Lists of which image is in which split: a dataset's written out, and other people's read in."""
