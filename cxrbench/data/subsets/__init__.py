"""Parts of a dataset: the images that a paper uses, and nested subsets of what it trains on."""
