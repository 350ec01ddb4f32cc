"""Detection heads: what they learn, and what their numbers mean."""
