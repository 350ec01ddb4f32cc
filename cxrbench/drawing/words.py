"""Names of strangers on a picture: as text, whatever they are made of, and on lines that fit."""

import re
import textwrap
from functools import lru_cache

from cxrbench.files.names import visible


def drawable(text: str) -> str:
    """Text as matplotlib draws it literally: no formulas, no character without a glyph, nothing that turns the line.

    Between two ``$`` matplotlib reads a formula, so each is escaped. What the font has no glyph for is written out as
    Python would (``\\u4e2d``), as are control characters.
    """
    known = _glyphs()
    shown = "".join(c if ord(c) in known else ascii(c)[1:-1] for c in visible(text))
    return shown.replace("$", r"\$")


def wrapped(text: str, width: int, most: int = 3) -> str:
    """A name on at most ``most`` lines of about ``width`` characters; of what does not fit, the middle is an ellipsis.

    Lines break behind blanks, ``/``, ``@``, ``:``, ``_`` and ``-``; a word longer than a line is divided. Each is
    ``drawable``.
    """
    text = visible(text)
    if len(text) > width * most:
        half = (width * most - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    lines = [""]
    for word in re.findall(rf"[^\s/@:_-]{{1,{width}}}[\s/@:_-]?|.", text):
        if len(lines[-1]) + len(word.rstrip()) > width and lines[-1] and len(lines) < most:
            lines.append("")
        lines[-1] += word
    return "\n".join(drawable(line.rstrip()) for line in lines)


def paragraph(text: str, width: int) -> str:
    """Sentences on lines of at most so many characters, each ``drawable``."""
    return "\n".join(map(drawable, textwrap.wrap(text, width)))


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    """Code points that the font of our charts, which comes with matplotlib, has."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    from cxrbench.drawing.files import FONT

    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())
