"""Splits as lists: written out for others, and theirs read in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.errors import UserError
from cxrbench.files.folders import data_folder
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ImportedSplits:
    """What ``import_splits`` left: the ``dataset`` to run on, its ``folder``, counts in words, and if it is ``new``."""

    dataset: str
    folder: Path
    counts: str
    new: bool


def splits_of(
    dataset: str,
    *,
    only: str | None = None,
    data: Path | str | None = None,
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> "pd.DataFrame":
    """Which image of a dataset is in which split: ``image, split, patient, study, path``, one row per image.

    ``only``: train, val or test. Images that take no part are left out. Raises UserError.
    """
    import pandas as pd

    from cxrbench.api.data import load_dataset
    from cxrbench.data.manifest import SPLITS

    if only is not None and only not in SPLITS:
        raise UserError(f"there is no split {only!r}: give --only {', '.join(SPLITS)}")
    images = load_dataset(dataset, data=data, cache=cache, bar=bar).images
    kept = images["split"].isin([only] if only else list(SPLITS)).to_numpy()
    names = {"image": "image_id", "split": "split", "patient": "patient_id", "study": "study_id", "path": "path"}
    return pd.DataFrame({name: images[column].to_numpy()[kept] for name, column in names.items()})


def import_splits(
    dataset: str,
    files: Sequence[Path | str],
    *,
    name: str | None = None,
    image_column: str = "",
    split_column: str = "",
    data: Path | str | None = None,
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> ImportedSplits:
    """Make a dataset ``DATASET.NAME`` of a dataset's images in the splits of a list.

    ``files``: a CSV with a column of images and one of splits, or a list for each split. ``name``: of the splits
    (default: the first file's). Raises UserError for unknown and doubled images and patients in two splits.
    """
    from cxrbench.api.data import load_dataset, phantom_folder
    from cxrbench.data.split_lists import kept
    from cxrbench.data.split_lists.lists import assigned, counted, read_lists
    from cxrbench.engine.names import is_folder, is_path
    from cxrbench.plugins.entry_points import DATASETS, found

    if is_path(dataset) or is_folder(dataset):
        raise UserError(f"{dataset} is a table of your own: say its splits in a column split")
    if not files:
        raise UserError("give the list of images and splits")
    paths = [Path(file).expanduser() for file in files]
    called = kept.named(dataset, name or paths[0].stem)
    if called in found(DATASETS):
        raise UserError(f"{called} is a dataset's name: give other --name")
    rows = read_lists(paths, image_column, split_column)
    manifest = load_dataset(dataset, data=data, cache=cache, bar=bar)
    splits = assigned(manifest, rows)
    folder = (data_folder(data) or phantom_folder(cache)) / called
    new = kept.keep(folder, dataset, splits, ", ".join(path.name for path in paths))
    return ImportedSplits(called, folder, counted(splits), new)
