"""Are the probabilities right? The report behind ``cxrbench calibration``."""
