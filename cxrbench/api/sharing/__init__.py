"""What is brought to others, and what they bring: results, lists of splits, and all that a place without a network needs."""
