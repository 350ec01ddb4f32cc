"""The board as one self-contained page: what is on it (payload), and the template that it is put into."""
