"""What stands in the heads of a store's files, read from the files or remembered since they were last read."""
