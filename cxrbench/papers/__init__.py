"""What the five papers published, as data, and their tables as files that a run can follow."""
