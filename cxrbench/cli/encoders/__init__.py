"""``cxrbench encoders``: a module per question."""
