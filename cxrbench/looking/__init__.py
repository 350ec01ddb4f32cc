"""Where an encoder looks: maps over an image, and which images are worth a look."""
