"""RadJEPA."""
