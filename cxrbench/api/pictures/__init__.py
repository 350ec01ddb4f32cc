"""What is looked at instead of read: maps of embeddings, pictures of a leaderboard."""
