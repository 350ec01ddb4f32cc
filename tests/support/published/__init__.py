"""Small checkpoints in the layouts of published encoders, name for name, and what they give for an image."""
