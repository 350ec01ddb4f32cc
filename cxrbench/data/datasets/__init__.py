"""One module per official download: its files and tables become a Manifest."""
