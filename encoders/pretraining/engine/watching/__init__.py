"""What is watched while an encoder is trained: its embeddings of a fixed set of images, and how they may collapse."""
