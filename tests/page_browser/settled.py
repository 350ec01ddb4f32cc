"""When a page has done what it puts off until after a frame."""

from typing import Any

# What the page has asked for before comes first: in the frame, and among what waits for the frame to be over.
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(() => setTimeout(done))))"


def settled(page: Any) -> None:
    """Wait until charts and rows are drawn that the page draws later (``afterFrame`` of its scripts)."""
    page.evaluate(SETTLED)
