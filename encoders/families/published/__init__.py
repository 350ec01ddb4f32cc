"""Named published encoders, ``cxr:NAME``: what is known of each (``catalog/*.toml``), and how a file is recognized."""
