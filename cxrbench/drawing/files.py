"""Charts as files that are the same to the byte whenever they are drawn from the same numbers.

PDF: TrueType fonts are embedded (type 42, as journals ask). SVG: letters are outlines, so that it looks alike where the
font is not installed. PNG: 200 dots per inch. No file has a date, nor a random id; whatever a user's matplotlibrc says
is put aside.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = "DejaVu Sans"  # comes with matplotlib
DOTS = 200  # per inch, of PNG
DIGITS = 4  # of a place, as a share of the figure's width or height
ENDINGS = (".png", ".svg", ".pdf")
SINGLE, DOUBLE = 3.3, 6.9
"""Inches of one column of a paper, and of two."""
Width = Literal["single", "double"]
STYLE: dict[str, Any] = {
    "font.family": FONT, "font.size": 7, "axes.titlesize": 8, "axes.labelsize": 7, "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5, "legend.fontsize": 6.5, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "cxrbench", "text.usetex": False,
}  # fmt: skip
CLIP = re.compile(r'(?<=[#"])p[0-9a-f]{10}(?=[")])')
"""The name of a clipping path in matplotlib's SVG, where it is made and where it is used."""
UNDATED: dict[str, dict[str, Any]] = {
    ".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}, ".pdf": {"CreationDate": None}
}  # fmt: skip


def check_place(path: Path, option: str = "-o", endings: tuple[str, ...] = ENDINGS) -> None:
    """Raise UserError where no picture can be written to; before anything is computed for it."""
    if path.suffix.lower() not in endings:
        raise UserError(f"{option} {path}: give the name of a picture that ends in {', '.join(endings)}")
    with writing(path.parent):  # of a name that no file can have it cannot even be asked whether it is there
        taken = path.is_dir()
    if taken or not path.absolute().parent.is_dir():
        what = "is a folder" if taken else f"there is no folder {path.absolute().parent}"
        raise UserError(f"{option} {path}: {what}")


@contextmanager
def our_style() -> Iterator[None]:
    """Within it figures are drawn and saved in our style; what was set before is put aside, and comes back."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE]):
        yield


def save(figure: "Figure", path: Path, title: str) -> None:
    """Write a figure, whole or not at all, in the format that its name ends in; ``title`` goes into its metadata.

    To be called within ``our_style``. Raises UserError for another ending, and where nothing can be written.
    """
    check_place(path)
    ending = path.suffix.lower()
    settle(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=ending[1:], dpi=DOTS, metadata=UNDATED[ending] | {"Title": title})
        if ending == ".svg":
            temporary.write_text(numbered(temporary.read_text("utf-8")), "utf-8")


def settle(figure: "Figure") -> None:
    """Lay a figure out, once and for all, on places of four digits.

    The solver of constrained layouts takes its equations in an order that follows from addresses in memory, so that
    last digits differ from one figure to the next; in between, everything else moves with what is rounded here.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for part in figure.subfigs:
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(DIGITS))
    for axes in figure.get_axes():
        left, bottom, width, height = (round(float(one), DIGITS) for one in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))
    for text in figure.texts:
        text.set_position((round(text.get_position()[0], DIGITS), round(text.get_position()[1], DIGITS)))


def numbered(svg: str) -> str:
    """An SVG whose clipping paths are called by numbers, in the order in which they are used.

    matplotlib calls them by a hash of texts that hold addresses in memory.
    """
    numbers: dict[str, str] = {}
    return CLIP.sub(lambda found: numbers.setdefault(found[0], f"clip{len(numbers)}"), svg)
