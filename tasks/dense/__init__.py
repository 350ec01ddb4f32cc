"""Tasks on dense maps: segmentation and detection."""
