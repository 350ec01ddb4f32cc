"""What long work tells whoever waits for it."""


class Progress:
    """What a caller may show while features are extracted; this one shows nothing."""

    def start(self, total: int, done: int) -> None:
        """Extraction begins; ``done`` rows are there already."""

    def advance(self, images: int) -> None:
        """Some images were embedded."""

    def wait(self, message: str) -> None:
        """Another process is doing the same work."""
