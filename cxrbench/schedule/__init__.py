"""A plan as units that several workers share: what there is to do, who does it, what failed, and how far it is."""
