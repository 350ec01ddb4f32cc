"""Making one part of an entry of pooled features."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderSpec, Preprocess
from cxrbench.features.entries import META
from cxrbench.features.making import Making, cached_rows
from cxrbench.features.parts.join import remove_parts
from cxrbench.features.parts.places import entry_folder, part_place
from cxrbench.features.pooled import feature_key
from cxrbench.features.pooled_rows import Batch, PooledRows
from cxrbench.features.reuse import agrees, drop_if_changed
from cxrbench.plugins.fixed_images import FixedFeatures
from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions


class _JoinedError(Exception):
    """The whole entry is there, and its parts are no more."""


def make_part(
    spec: EncoderSpec,
    load_module: Callable[[], Encoder],
    preprocess: Preprocess,
    manifest: Manifest,
    cache: Path,
    options: "ExtractOptions",
    rows: range,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
    fixed: FixedFeatures | None = None,
) -> None:
    """Extract ``rows`` (of ``parts_of``) of what ``pooled_features`` would extract with the same arguments.

    Nothing is done if the part is there, or the whole entry. What was interrupted goes on where it stopped. Two
    processes may ask for the same part at once: one makes it, the other waits. Raises what ``pooled_features`` raises.
    """
    entry = entry_folder(cache, feature_key(spec, manifest, options.precision))

    def joined() -> bool:
        return (entry / META).exists() and agrees(entry, fixed)

    if joined():
        return
    place, progress = part_place(entry, rows, options.batch_size), progress or Progress()
    which = f"rows {rows.start:,} to {rows.stop:,} of {spec.name} on {manifest.name}"
    waiting = f"another process is extracting {which}: waiting for it"
    drop_if_changed(place.folder, fixed, f"features of {which}", waiting, progress)
    source = PooledRows(spec, load_module, preprocess, manifest, options, skip_bad, fixed)

    def produce(start: int) -> Iterator[Batch]:
        if joined():  # while this process waited for its turn, another one made the part, the last, and joined all
            raise _JoinedError
        for values, bad in source.extract(rows.start + start, rows.stop):
            if fixed is not None and not values.shape[1]:  # a part may hold nothing but bad images
                yield np.full((len(values), fixed.pooled.shape[1]), np.nan, np.float32), bad
            else:
                yield values, bad

    facts = {"encoder": spec.name, "dataset": manifest.name, "precision": options.precision}
    with suppress(_JoinedError):
        cached_rows(place, Making(produce, options.batch_size, facts), waiting, progress)
    if (entry / META).exists():  # somebody has extracted all of it meanwhile
        remove_parts(entry)
