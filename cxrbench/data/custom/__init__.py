"""A user's own dataset: a CSV or a COCO JSON becomes a Manifest."""
