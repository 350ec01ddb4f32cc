"""From saved predictions to intervals, tests and tables. Needs no GPU, no image and no model."""
