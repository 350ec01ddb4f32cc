"""What several test modules share: small data, small networks, the command line as a function."""
