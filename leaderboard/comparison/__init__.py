"""Is one encoder, or one protocol of an encoder, better than another?"""
