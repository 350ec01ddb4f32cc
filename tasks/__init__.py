"""The protocols: what is asked of an encoder. Each ends in Predictions."""
