"""Classifiers trained by gradient descent: batches of images, heads, epochs, selection on validation."""
