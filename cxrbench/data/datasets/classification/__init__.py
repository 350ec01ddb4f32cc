"""Official downloads whose images have labels, one module per download."""
