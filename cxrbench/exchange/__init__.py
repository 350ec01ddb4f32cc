"""Results that leave a machine, and results that come from several: packing, merging, checking, renaming."""
