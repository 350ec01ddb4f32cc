"""What benchmarks/shipped.py and benchmarks/real.py are made of."""
