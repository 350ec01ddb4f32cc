"""Tasks that rank or predict embeddings."""
