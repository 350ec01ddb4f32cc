"""Experiment loggers: where numbers go while they are made, beside the files that are always written."""
