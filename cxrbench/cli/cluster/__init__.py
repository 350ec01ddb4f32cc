"""Commands for work that several processes share."""
