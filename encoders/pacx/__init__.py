"""PaCX-MAE."""
