"""What a board's tables have in their cells and in which order, before it is Markdown, LaTeX or a page."""
