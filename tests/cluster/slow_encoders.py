"""Encoders that take long enough to be interrupted, and say how often they were called."""

from pathlib import Path

SOURCE = '''
import time
from pathlib import Path
import torch
from cxrbench.encoder import Features, Preprocess
from cxrbench.plugins.loading import fixed_batch

class A(torch.nn.Module):
    """Means of 4 x 4 tiles, {seconds} s per batch. Every call leaves a line, but for those on the fixed images."""
    preprocess = Preprocess(size=16, resize="squash", mean=(0.0,), std=(1.0,), channels=1)
    def forward(self, images):
        if not torch.equal(images[0], fixed_batch(self.preprocess)[0]):
            with open(Path(__file__).with_name("calls.txt"), "a") as log:
                log.write(f"{{type(self).__name__}} {{len(images)}}\\n")
            time.sleep({seconds})
        return Features(torch.nn.functional.avg_pool2d(images, 4).flatten(1))
'''


def slow_encoders(folder: Path, *names: str, seconds: float) -> str:
    """``--encoder`` of so many encoders, in a file of this folder; ``calls.txt`` beside it has a line per call."""
    others = "".join(f"\nclass {name}(A):\n    pass\n" for name in names if name != "A")
    (folder / "slow.py").write_text(SOURCE.format(seconds=seconds) + others)
    return ",".join(f"{folder / 'slow.py'}:{name}" for name in names)


def calls(folder: Path) -> list[str]:
    """``NAME images`` of every call so far."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []
