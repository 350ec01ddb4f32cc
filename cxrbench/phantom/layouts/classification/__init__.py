"""Phantom images written as official downloads whose images have labels, one module per dataset."""
