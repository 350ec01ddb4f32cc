"""Check marks: who is better than one encoder, by data set and metric."""
