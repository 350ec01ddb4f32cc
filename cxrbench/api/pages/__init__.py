"""The board as a page: what it shows beside the board itself."""
