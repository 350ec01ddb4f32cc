"""A paper's table in its own shape, and the statistics that papers print: pure functions of predictions."""
