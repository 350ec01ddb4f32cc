"""Weighted metrics: from scores and targets to a function of weights [n, B]."""
