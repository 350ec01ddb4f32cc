"""Text and pictures side by side: captions that fit their width, panels with titles, sheets."""

import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cxrbench.files.names import visible

SIZE, LEADING, EDGE = 14, 18, 4
LIGHT, STRONG = (225, 225, 225), (255, 220, 0)
Colour = tuple[int, int, int]


def short_names(specs: Sequence[str]) -> list[str]:
    """Encoders as captions call them: without weights, where that tells them apart, and without folders."""
    plain = [re.sub(r"[^@:/]*/", "", spec) for spec in specs]
    heads = [name.partition("@")[0] for name in plain]
    names = heads if len(set(heads)) == len(set(specs)) else plain
    return [name if names.index(name) == i else f"{name} ({i + 1})" for i, name in enumerate(names)]


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` pixels, cut between words, within a word where it is too long."""
    font, lines, line = ImageFont.load_default(SIZE), [], ""
    for word in visible(text).split(" "):
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width - 2 * EDGE:
            line = longer
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width - 2 * EDGE:
            fits = max(1, next(n for n in range(len(word)) if font.getlength(word[: n + 1]) > width - 2 * EDGE))
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def text_block(lines: Sequence[str], width: int, colour: Colour = LIGHT) -> Image.Image:
    """Lines, each wrapped, in a picture of that width; the first in yellow."""
    parts = [(part, STRONG if i == 0 else colour) for i, line in enumerate(lines) for part in wrapped(line, width)]
    block = Image.new("RGB", (width, LEADING * len(parts) + 2 * EDGE))
    draw, font = ImageDraw.Draw(block), ImageFont.load_default(SIZE)
    for i, (part, of) in enumerate(parts):
        draw.text((EDGE, EDGE + LEADING * i), part, fill=of, font=font)
    return block


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """One below the other, at the left."""
    whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)))
    top = 0
    for picture in pictures:
        whole.paste(picture, (0, top))
        top += picture.height
    return whole


def abreast(pictures: Sequence[Image.Image], gap: int = EDGE) -> Image.Image:
    """One beside the other, at the top."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    whole, left = Image.new("RGB", (width, max(p.height for p in pictures))), 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    return whole


def panels(pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Image.Image]:
    """Pictures of one size, each below its title, for which all leave as much room as the longest needs."""
    heads = [text_block(["", title], pictures[0].width) for title in titles]
    room, placed = max(head.height for head in heads), []
    for picture, head in zip(pictures, heads, strict=True):
        above = Image.new("RGB", (picture.width, room))
        above.paste(head, (0, room - head.height))
        placed.append(stacked([above, picture]))
    return placed


def in_rows(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Cells in rows of ``columns``."""
    rows = [abreast(cells[i : i + columns], gap=3 * EDGE) for i in range(0, len(cells), columns)]
    return stacked(rows)
