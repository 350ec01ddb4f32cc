"""How sure the numbers are: resamples, variances, intervals, tests."""
