"""The ways of looking, for who shows them."""

from cxrbench.looking.how import WORDS, How

__all__ = ["WORDS", "How"]
