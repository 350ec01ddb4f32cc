"""From an image file to gray values in [0, 1], and on to what an encoder wants."""
