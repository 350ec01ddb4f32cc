"""What papers print, beside the columns of a board: never tested, never ranked."""
