"""Official downloads with masks: of ribs, lungs, infections and findings."""
