"""One vocabulary for the labels of all datasets: tables that a radiologist can read, and what means the same."""
