"""cxrbench: which pretrained chest X-ray encoder is better, on which task, and is the difference real?"""

__version__ = "0.1.0"
