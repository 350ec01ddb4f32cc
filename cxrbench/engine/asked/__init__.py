"""What was asked of a run: objects where a command has names, and the request as a file and as it is remembered."""
