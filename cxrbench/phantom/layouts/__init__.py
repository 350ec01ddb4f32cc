"""Phantom images written as official downloads, one module per dataset."""
