"""What is brought to others, and what they bring: results, lists of splits, what a place without a network needs."""
