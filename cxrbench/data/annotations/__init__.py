"""What is drawn on an image: boxes, masks, run lengths, at any size."""
