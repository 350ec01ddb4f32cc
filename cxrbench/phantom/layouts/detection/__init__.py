"""The phantom as the downloads whose annotations are boxes and other shapes."""
