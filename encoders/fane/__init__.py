"""FaNe."""
