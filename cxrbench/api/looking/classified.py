"""Cases of a finished classification: which images, what is true in them, and where the encoder looks."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.api.looking.cells import OpenedCell, looker, open_cells
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.names import some
from cxrbench.looking.how import How
from cxrbench.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrbench.data.annotations.masks import TrueMasks
    from cxrbench.encoder import Preprocess
    from cxrbench.looking.cases import Judged, PickedCase
    from cxrbench.looking.look import Looker


@dataclass(frozen=True)
class LabelCases:
    """The cases of a label, and all scores that they were picked from."""

    judged: "Judged"
    cases: "tuple[PickedCase, ...]"


@dataclass(frozen=True)
class LookedMap:
    """``values`` [rows, columns] over what an encoder sees of an image of ``native`` height and width."""

    values: "NDArray[np.float64]"
    how: str
    preprocess: "Preprocess"
    native: tuple[int, int]

    def at(self, shown: tuple[int, int]) -> "NDArray[np.float64]":
        """At the pixels of a picture of that height and width; NaN where the encoder did not see the image."""
        from cxrbench.looking.places import on_image

        return on_image(self.values, self.preprocess, self.native, shown)


@dataclass(frozen=True)
class LookedCase:
    """An image [H, W] in [0, 1], where the label is true in it (bool [H, W]; None: nobody has said), and maps.

    ``maps``: of each encoder; None where it cannot be asked.
    """

    image: "NDArray[np.float32]"
    truth: "NDArray[np.bool_] | None"
    maps: tuple[LookedMap | None, ...]


@dataclass(frozen=True)
class ClassifiedCases:
    """What is worth a look in a cell, or in the same cell of two encoders.

    ``lookers``: None for an encoder that cannot be asked; ``remarks`` say why, and which labels are left out.
    """

    cells: tuple[OpenedCell, ...]
    lookers: "tuple[Looker | None, ...]"
    labels: tuple[LabelCases, ...]
    remarks: tuple[str, ...]

    def look(self, case: "PickedCase", label: str) -> LookedCase:
        """A case with its maps. Raises UserError, and BadImageError for a file that cannot be read."""
        import numpy as np

        from cxrbench.data.decode.images import decode
        from cxrbench.data.decode.preprocess import prepare

        manifest = self.cells[0].manifest
        row = int(np.flatnonzero((manifest.images["image_id"] == case.image_id).to_numpy())[0])
        image = decode(manifest.paths()[row])
        height, width = image.shape
        maps: list[LookedMap | None] = []
        for opened, one in zip(self.cells, self.lookers, strict=True):
            if one is None:
                maps.append(None)
                continue
            try:
                seen = one.map(prepare(image, one.preprocess), label, str(manifest.images["view"][row]))
            except NotApplicableError as why:  # a gradient is looked for in an image
                raise UserError(f"{opened.encoder}: {why}; leave out --how") from why
            maps.append(LookedMap(seen.values, seen.how, one.preprocess, (height, width)))
        return LookedCase(image, self._truth(case.image_id, label, height, width), tuple(maps))

    def _truth(self, image_id: str, label: str, height: int, width: int) -> "NDArray[np.bool_] | None":
        """Where the label's masks or boxes are, as far as the dataset has any of that image."""
        import numpy as np

        manifest, masks = self.cells[0].manifest, self._masks
        if masks is not None and label in masks.labels:
            inside = masks.native(image_id, height, width)[masks.labels.index(label)] == 1
        else:
            inside = np.zeros((height, width), bool)
            if manifest.boxes is not None:
                of = manifest.boxes.loc[(manifest.boxes["image_id"] == image_id) & (manifest.boxes["label"] == label)]
                for x, y, w, h in of[["x", "y", "width", "height"]].itertuples(index=False):
                    inside[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)] = True
        return inside if inside.any() else None

    @cached_property
    def _masks(self) -> "TrueMasks | None":
        """The dataset's masks, if it has any."""
        from cxrbench.data.annotations.masks import TrueMasks

        manifest = self.cells[0].manifest
        return None if manifest.masks is None or not len(manifest.masks) else TrueMasks.of(manifest)


def classified_cases(
    cell: str,
    *,
    encoder: str = "",
    against: str = "",
    labels: tuple[str, ...] = (),
    count: int = 12,
    how: How = "auto",
    results: Path = Path("results"),
    cache: Path | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ClassifiedCases:
    """Test images of a classification that are worth a look: per label (default: those of the headline) ``count``.

    Of one encoder the worst false negatives and positives, median and best (``cxrbench.looking.cases``); with
    ``against`` those that one of the two alone gets right. ``how``: rollout, grad-cam, occlusion, or the first of them
    that the encoder can be asked; then one that can be asked none of them is a remark. Raises UserError.
    """
    from cxrbench.looking.cases import judged, picked, rescued

    opened = open_cells(cell, encoder, against, results)
    first = opened[0].predictions
    if first.cell.get("unit") == "study":
        raise UserError(
            f"{cell}: its rows are studies of several images, and a picture is of one: show a cell of images"
        )
    named = labels or first.groups["macro"]
    if unknown := [label for label in named if label not in first.labels]:
        raise UserError(f"{cell} has no label {unknown[0]!r}: choose of {some(first.labels)}")
    remarks, chosen = [], []
    for label in named:
        found = judged([one.predictions for one in opened], label)
        if any(value != value for value in found.thresholds) or not len(found.ids):
            remarks.append(f"{label}: left out, for its validation or test images are not of both kinds")
            continue
        chosen.append(LabelCases(found, tuple((rescued if against else picked)(found, count))))
    lookers = []
    for one in opened:
        try:
            lookers.append(looker(one, how, cache, device, progress or Progress()))
        except NotApplicableError as why:
            if how != "auto":
                raise UserError(f"{one.encoder}: {why}; leave out --how") from why
            remarks.append(f"{one.encoder}: no map, for {why}")
            lookers.append(None)
    return ClassifiedCases(tuple(opened), tuple(lookers), tuple(chosen), tuple(remarks))
