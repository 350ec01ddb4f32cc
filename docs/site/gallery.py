"""Makes the pictures of docs/gallery.md: ``python docs/site/gallery.py [FOLDER]`` runs the commands of that page.

They run in a folder (build/gallery), where finished results stay, so that the next time is short; the pictures are
reduced to 64 colours, which nobody sees, and put into docs/gallery.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parents[1]
PAGE, PICTURES = DOCS / "gallery.md", DOCS / "gallery"
COLOURS = 64
FENCE = re.compile(r"^```\n(.*?)^```$", re.M | re.S)


def commands(page: str) -> list[list[str]]:
    """The commands of the page in their order, as words."""
    return [shlex.split(line) for block in FENCE.findall(page) for line in block.splitlines()]


def written(command: list[str]) -> str:
    """The picture that a command writes; "" for one that writes none."""
    return command[command.index("-o") + 1] if "-o" in command else ""


def reduce(picture: Path, to: Path) -> None:
    """The same picture with a palette: a quarter of the bytes."""
    with Image.open(picture) as whole:
        whole.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(to, optimize=True)


def main(folder: Path) -> None:
    """Run everything, one command after the other; the first that fails ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    for command in commands(PAGE.read_text(encoding="utf-8")):
        print(shlex.join(command), flush=True)
        subprocess.run(command, cwd=folder, check=True)
        if name := written(command):
            reduce(folder / name, PICTURES / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else DOCS.parent / "build" / "gallery"))
