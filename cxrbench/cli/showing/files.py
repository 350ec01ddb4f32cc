"""Pictures of images as files: their endings, and writing one whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.drawing.files import check_place
from cxrbench.files.atomic import atomic_path

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def check_picture(path: Path, option: str) -> None:
    """Raise UserError where no picture can be written to; before anything is computed for it."""
    check_place(path, option, tuple(FORMATS))


def save_picture(image: "Image", path: Path) -> None:
    """Write an image in the format that its name ends in. Raises UserError where it cannot be written."""
    with atomic_path(path) as temporary:
        image.save(temporary, format=FORMATS[path.suffix.lower()])
