"""The board as LaTeX: tables for a paper, with booktabs and siunitx."""
