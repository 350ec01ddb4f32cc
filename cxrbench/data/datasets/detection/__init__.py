"""The official downloads whose annotations are boxes and other shapes."""
