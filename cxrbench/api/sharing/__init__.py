"""What is brought to others, and what they bring: results, and everything that a place without a network needs."""
