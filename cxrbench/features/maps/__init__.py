"""Dense maps of whole images: as decoders see them, and the cache of them."""
