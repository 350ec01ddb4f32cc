"""Protocols of one encoder, one against another: views, decoders, label fractions, probes, folds."""
