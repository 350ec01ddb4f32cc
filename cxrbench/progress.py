"""What long work tells whoever waits for it."""


class Progress:
    """What a caller may show while features are extracted; this one shows nothing."""

    def start(self, total: int, done: int) -> None:
        """Extraction begins; ``done`` rows are there already."""

    def advance(self, images: int) -> None:
        """Some images were embedded."""

    def wait(self, message: str) -> None:
        """Another process is doing the same work."""

    def note(self, message: str) -> None:
        """Something that the user should know, once."""

    def train(self, what: str, step: int, steps: int) -> None:
        """Training of a decoder or a head goes on: ``step`` of at most ``steps`` is done."""
