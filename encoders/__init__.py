"""The encoders: one file per pretraining method, and the families of published baselines."""
