"""The command line: it parses, calls, prints. Nothing imports it."""
