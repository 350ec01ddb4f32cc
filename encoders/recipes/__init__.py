"""How each method is trained, a module per method: every number, and where it comes from.

A source is the paper's section or table, a repository and its file (the public code, at the commit that
docs/methods.md names), or ``ours`` with the reason. Where a paper is silent, it says so, and from whom the number is.
"""
