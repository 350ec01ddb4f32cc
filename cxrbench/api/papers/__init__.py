"""A paper's tables: what is there, what a table would run, running it, and showing it in the paper's shape."""
