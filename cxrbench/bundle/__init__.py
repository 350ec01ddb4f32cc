"""One folder for a place without a network: wheels, weights with their cards, documentation, and a check."""
