"""Who is who in datasets that share images: patients are told by pictures where no table tells them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.lookalikes import Gallery, decoded_looks
from cxrbench.data.manifest import Manifest, Rows
from cxrbench.engine.elsewhere.joined import SET
from cxrbench.errors import UserError
from cxrbench.files.records import read_record, write_record

if TYPE_CHECKING:
    from cxrbench.task import RunContext

VERSION = "1"
FOLDER = "pictures"  # in the cache folder


def one_identity(
    manifest: Manifest, unclear: Sequence[tuple[str, str]], used: NDArray[np.bool_], context: "RunContext"
) -> tuple[Manifest, tuple[str, ...]]:
    """The joined manifest with one identifier for each patient of the ``unclear`` pairs of sets, and what was found.

    Two patients who have one picture are one (``data/lookalikes.py``; all images of the pair are decoded, once for a
    cache folder). Raises UserError where that does not tell: of either set some image that is ``used`` [n] is not in
    the other, so that its patient may be there with other images.
    """
    names, notes = manifest.images[SET].to_numpy(str), []
    for one, other in unclear:
        rows = np.flatnonzero((names == one) | (names == other))
        same = _one_picture(manifest, rows, (one, other), context)
        both = [group for group in same if len({names[row] for row in group}) > 1]
        found = {row for group in both for row in group}
        lost = {name: sum(names[r] == name and used[r] and r not in found for r in rows) for name in (one, other)}
        if all(lost.values()):
            raise UserError(
                f"{one} and {other} have images of one source under other names, and {lost[one]:,} images of {one} and "
                f"{lost[other]:,} of {other} are not found in the other by their pictures: nobody can say whether "
                "training patients are test patients; train on another dataset"
            )
        manifest = _joined_patients(manifest, both)
        notes.append(
            f"{one} and {other} share {len(both):,} pictures under other names: their patients are taken as one"
        )
    return manifest, tuple(notes)


def _joined_patients(manifest: Manifest, groups: Sequence[Sequence[int]]) -> Manifest:
    """The manifest with one identifier for all patients of each group of rows, and of groups that share one."""
    patients = manifest.images["patient_id"].astype(str).tolist()
    leader: dict[str, str] = {}

    def lead(patient: str) -> str:
        while (above := leader.get(patient, patient)) != patient:
            patient = above
        return patient

    for group in groups:
        for first, second in pairwise(group):
            one, other = sorted((lead(patients[first]), lead(patients[second])))
            if one != other:
                leader[other] = one
    return replace(manifest, images=manifest.images.assign(patient_id=[lead(patient) for patient in patients]))


def _one_picture(manifest: Manifest, rows: Rows, pair: tuple[str, str], context: "RunContext") -> list[list[int]]:
    """Groups of rows that are one picture; kept in the cache folder by what the images are."""
    images = manifest.images.iloc[rows]
    ids = images["image_id"].astype(str).tolist()
    facts = images[["image_id", "bytes", "stamp"]].to_numpy().tolist()
    key = hashlib.sha256(json.dumps([VERSION, context.options.max_pixels, facts]).encode()).hexdigest()
    path = context.scratch / FOLDER / f"{key}.json"
    try:
        groups = read_record(path)["groups"]
    except (UserError, OSError, KeyError):
        groups = _seen(manifest, rows, ids, pair, context)
        write_record(path, {"sets": pair, "groups": groups})
    row_of = dict(zip(ids, rows.tolist(), strict=True))
    return [[row_of[name] for name in group] for group in groups]


def _seen(
    manifest: Manifest, rows: Rows, ids: Sequence[str], pair: tuple[str, str], context: "RunContext"
) -> list[list[str]]:
    """Groups of image ids that are one picture, by decoding them all. An image that cannot be read is like no other."""
    paths: list[Path] = manifest.paths()
    gallery, options = Gallery(len(rows)), context.options
    seen = decoded_looks([paths[row] for row in rows], max(1, options.workers), options.max_pixels, None)
    for done, (at, looks) in enumerate(seen, 1):
        context.progress.train(f"comparing the pictures of {' and '.join(pair)}", done, len(rows))
        if not isinstance(looks, str):
            gallery.put(at, looks)
    return [[ids[at] for at in group] for group in gallery.groups()]
