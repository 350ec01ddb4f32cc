"""``cxrbench data check A B``: which pictures two datasets share, whatever their files are called."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tabulate import tabulate

from cxrbench.cores import cores
from cxrbench.data.decode.images import MAX_PIXELS
from cxrbench.data.lookalikes import Gallery, decoded_looks
from cxrbench.data.manifest import SPLITS, Manifest

SHOWN = 20


@dataclass(frozen=True)
class SharedPictures:
    """What two datasets share. ``names``, ``images`` (how many), ``unreadable`` (how many): of the two, by name.

    ``pictures``: image ids of each picture that is in both, those of the first dataset and those of the second.
    ``splits``: how many pictures are in which split of the first and of the second. ``crossing``: pictures that one has
    in test (or validation) and the other in training. ``related``: sources that both say their images come from.
    ``same_patients``: the identifiers of both mean the same patients.
    """

    names: tuple[str, str]
    images: tuple[int, int]
    unreadable: tuple[int, int]
    pictures: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    splits: dict[str, dict[str, int]]
    crossing: int
    related: tuple[str, ...]
    same_patients: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is shared that the datasets do not say."""
        return not self.pictures or bool(self.related)

    def __str__(self) -> str:
        return format_shared(self)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**asdict(self), "ok": self.ok, "what to do": what_to_do(self)}


def shared_pictures(
    one: Manifest,
    other: Manifest,
    *,
    same_patients: bool = False,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[int], None] | None = None,
) -> SharedPictures:
    """Decode the images of both datasets and find those that are one picture (``data/lookalikes.py``).

    The two are put in the order of their names, so that it does not matter which is given first, nor how many
    ``workers`` decode. Some 300 bytes of each image are kept. ``progress``: as of ``data/check.py``.
    """
    first, second = sorted((one, other), key=lambda manifest: manifest.name)
    seen, bad = Gallery(len(first) + len(second)), [0, 0]
    for row, found in decoded_looks([*first.paths(), *second.paths()], workers or cores(), max_pixels, progress):
        if isinstance(found, str):
            bad[row >= len(first)] += 1
        else:
            seen.put(row, found)
    ids = [*first.images["image_id"].astype(str), *second.images["image_id"].astype(str)]
    splits = [*first.images["split"].astype(str), *second.images["split"].astype(str)]
    table: dict[str, dict[str, int]] = {str(a): {str(b): 0 for b in SPLITS} for a in SPLITS}
    pictures, crossing = [], 0
    for rows in seen.groups():
        here, there = [row for row in rows if row < len(first)], [row for row in rows if row >= len(first)]
        if not (here and there):
            continue
        pictures.append((tuple(ids[row] for row in here), tuple(ids[row] for row in there)))
        mine, theirs = ({splits[row] for row in side} & {*SPLITS} for side in (here, there))
        for a in mine:
            for b in theirs:
                table[a][b] += 1
        crossing += any("train" in a and b - {"train"} for a, b in ((mine, theirs), (theirs, mine)))
    lineages = [{manifest.name, manifest.split_of, *manifest.lineage} - {""} for manifest in (first, second)]
    return SharedPictures(
        names=(first.name, second.name),
        images=(len(first), len(second)),
        unreadable=(bad[0], bad[1]),
        pictures=tuple(sorted(pictures)),
        splits=table,
        crossing=crossing,
        related=tuple(sorted(lineages[0] & lineages[1])),
        same_patients=same_patients,
    )


def format_shared(report: SharedPictures) -> str:
    """The report as text: counts, a table of splits, examples, and what to do."""
    (a, b), (images_a, images_b) = report.names, report.images
    counts = [sum(len(side[of]) for side in report.pictures) for of in (0, 1)]
    lines = [
        f"{a} ({images_a:,} images) and {b} ({images_b:,} images), compared by their pictures",
        f"unreadable files: {report.unreadable[0]:,} of {a}, {report.unreadable[1]:,} of {b}",
        f"pictures in both: {len(report.pictures):,} ({counts[0]:,} images of {a}, {counts[1]:,} of {b})",
    ]
    if report.pictures:
        rows = [[f"{a} {name}", *(report.splits[name][other] for other in SPLITS)] for name in SPLITS]
        table = tabulate(rows, headers=["pictures", *(f"{b} {name}" for name in SPLITS)], colalign=("left",))
        lines += ["", table, "", f"in training of one and in validation or test of the other: {report.crossing:,}"]
        lines += [f"  {_joined(mine)} = {_joined(theirs)}" for mine, theirs in report.pictures[:SHOWN]]
        lines += [f"  ... and {len(report.pictures) - SHOWN:,} more"] if len(report.pictures) > SHOWN else []
    lines += [f"common source, as they say: {', '.join(report.related) or 'none'}", *what_to_do(report)]
    return "\n".join(lines)


def what_to_do(report: SharedPictures) -> list[str]:
    """What follows from it, in one or two lines."""
    a, b = report.names
    if not report.pictures:
        return [
            f"nothing to do: the images of {a} and {b} that were read differ"
            + (", though they come from one source: these may be parts without a common image" * bool(report.related))
        ]
    if not report.related:
        return [
            f"to do: {a} and {b} do not say that they share images, so an encoder that was pretrained on one is not "
            "marked on the other, and training on one does not leave out test patients of the other",
            f'of a CSV of your own, say it in its TOML file, lineage = ["{a}", "{b}"]; of a reader, report it',
        ]
    if report.same_patients:
        return [
            "nothing to do: patients have the same identifiers in both, by which test patients are left out of training"
        ]
    return [
        "marks of pretraining are right, for both name the source; with --train pictures tell which patients are in "
        f"both, if all images in use of {a} or of {b} are in the other; elsewhere use one of the two"
    ]


def _joined(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:3]) + (f", ... ({len(ids)} images)" if len(ids) > 3 else "")
