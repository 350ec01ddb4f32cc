"""A picture of the phantom: each finding at three grades, its mask tinted and its boxes drawn."""

import numpy as np
from PIL import Image, ImageDraw

from cxrbench.phantom.findings import FINDINGS
from cxrbench.phantom.image import Radiograph, render

GRADES = (0.15, 0.5, 0.9)


def contact_sheet(seed: int = 0, *, size: int = 160) -> Image.Image:
    """Normal images in the first row, then one finding a row, subtle to obvious, each beside its own overlay.

    ``size``: edge of one image in pixels; the sheet is 6 images wide.
    """
    sheet = Image.new("RGB", (2 * len(GRADES) * size, (1 + len(FINDINGS)) * size))
    draw = ImageDraw.Draw(sheet)
    for column in range(2 * len(GRADES)):
        sheet.paste(_image(render((seed, 0, column)), None, size), (column * size, 0))
    for row, name in enumerate(FINDINGS, 1):
        for column, grade in enumerate(GRADES):
            image = render((seed, row, column), {name: grade})
            sheet.paste(_image(image, None, size), (2 * column * size, row * size))
            sheet.paste(_image(image, name, size), ((2 * column + 1) * size, row * size))
    for row, name in enumerate(("No finding", *FINDINGS)):
        at = (3, (row + 1) * size - 13)
        draw.rectangle(draw.textbbox(at, name), fill=(0, 0, 0))
        draw.text(at, name, fill=(255, 220, 0))
    return sheet


def _image(radiograph: Radiograph, name: str | None, size: int) -> Image.Image:
    """The image as an RGB image, with the regions of one finding marked."""
    pixels = np.repeat(np.rint(radiograph.image * 255)[..., None], 3, axis=-1)
    marked = [finding for finding in radiograph.findings if finding.name == name]
    for finding in marked:
        pixels[finding.mask] = 0.65 * pixels[finding.mask] + 0.35 * np.array([255.0, 60.0, 0.0])
    image = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for finding in marked:
        x, y, w, h = finding.box
        draw.rectangle((x, y, x + w - 1, y + h - 1), outline=(0, 230, 80))
    return image.resize((size, size), Image.Resampling.LANCZOS)
