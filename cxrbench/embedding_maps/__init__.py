"""Maps of an encoder's embeddings: images as points in the plane, coloured by what is known of them."""
