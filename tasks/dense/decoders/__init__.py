"""Decoders of segmentation: from an encoder's four native maps to logits per pixel."""
