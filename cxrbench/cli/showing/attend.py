"""``cxrbench attend``: where an encoder, or a sentence, looks in images of one's own choice."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrbench import api
from cxrbench.cli.options import DeviceOption
from cxrbench.cli.showing.files import check_picture, save_picture
from cxrbench.files.names import visible

if TYPE_CHECKING:
    from PIL.Image import Image

    from cxrbench.api.looking.classified import LookedCase

COLUMNS = 4


def attend(
    encoder: Annotated[str, typer.Argument(help="The encoder, e.g. spcl, hf:REPO or fane@runs/fane/last.ckpt.")],
    images: Annotated[list[Path], typer.Argument(help="Image files: DICOM, PNG, JPEG, ...")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The picture to write, e.g. attention.png.")],
    sentence: Annotated[
        list[str] | None,
        typer.Option(help="Where this sentence looks, of an encoder that has learnt it (fane); repeat for several."),
    ] = None,
    side: Annotated[int, typer.Option(min=64, help="Longer side of each panel in pixels.")] = 320,
    device: DeviceOption = "auto",
) -> None:
    """Draw where an encoder looks in some images: attention rollout or, with --sentence, the sentence's own attention.

    No results are needed. In a row the image comes first, then a panel for each sentence. Each map has its own scale;
    of a sentence its largest weight is said.

    Examples:

      cxrbench attend spcl@runs/spcl/encoder.safetensors scan.dcm other.png -o a.png

      cxrbench attend fane@runs/fane/last.ckpt scan.dcm --sentence "There is a left pneumothorax." -o attention.png
    """
    check_picture(out, "--out")
    cases = api.attend(encoder, images, sentence or (), device=device)
    from cxrbench.cli.showing.captions import stacked

    rows = [_row(path.name, encoder, case, sentence or (), side) for path, case in zip(images, cases, strict=True)]
    save_picture(stacked(rows), out)
    print(visible(f"{len(rows)} image(s) in {out}"))


def _row(name: str, encoder: str, case: "LookedCase", sentences: Sequence[str], side: int) -> "Image":
    """An image and its maps, below the image's name."""
    import numpy as np

    from cxrbench.cli.showing.captions import in_rows, panels, short_names, stacked, text_block
    from cxrbench.cli.showing.colours import heat
    from cxrbench.cli.showing.overlay import resized

    gray = resized(case.image, side)
    maps = [one.at((gray.height, gray.width)) for one in case.maps if one is not None]
    ends = [(float(np.nanmin(values)), float(np.nanmax(values))) for values in maps]
    said = [f"{sentence} (at most {high:.2g})" for sentence, (_, high) in zip(sentences, ends, strict=False)]
    titles = said or ["attention rollout"]
    pictures = [gray, *(heat(gray, values, *of) for values, of in zip(maps, ends, strict=True))]
    drawn = in_rows(panels(pictures, ["image", *titles]), COLUMNS)
    return stacked([text_block([f"{name}: {short_names([encoder])[0]}"], drawn.width), drawn])
