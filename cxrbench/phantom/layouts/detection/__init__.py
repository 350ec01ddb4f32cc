"""The phantom as the downloads with boxes, drawn only when they are named."""
