"""A user's CSV with images of its own."""

from pathlib import Path

from PIL import Image

from support.layouts import text


def csv(root: Path, header: str, cells: list[str], sidecar: str = "") -> Path:
    """A CSV ``image,HEADER``, an image of 6 x 4 pixels for each of its rows."""
    rows = []
    for n, cell in enumerate(cells):
        Image.new("L", (6, 4), n).save(root / f"{n}.png")
        rows.append(f"{n}.png,{cell}")
    if sidecar:
        (root / "own.toml").write_text(sidecar)
    text(root / "own.csv", f"image,{header}", *rows)
    return root / "own.csv"
