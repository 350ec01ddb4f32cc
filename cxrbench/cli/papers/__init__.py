"""The command that asks for a paper's table."""
