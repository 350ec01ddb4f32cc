"""What is brought to others, and what they bring: results, lists of splits, and everything that a place without a network needs."""
