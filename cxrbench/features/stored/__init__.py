"""Features that come out of a file instead of an encoder: the file, its checks, and the rows of a dataset in it."""
