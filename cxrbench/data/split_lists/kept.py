"""Imported splits on disk: a folder of the data folder, ``rsna.mgca``, with the splits of another dataset's images.

It is a dataset of its own, with the images, labels, boxes and masks of the other, so that no result under one split is
taken for a result under another; features are those of the other one's images, and are not made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.errors import UserError
from cxrbench.files.names import is_folder_name, plain, some
from cxrbench.files.records import read_record, write_record

FILE = "splits.json"
"""What makes a folder of the data folder a dataset in other splits."""
UNUSED = "unused"
SEPARATOR = "."


def named(dataset: str, splits: str) -> str:
    """What a dataset in other splits is called. Raises UserError for a name that no folder can have."""
    if not splits.replace("-", "").replace("_", "").isalnum() or not is_folder_name(f"{dataset}{SEPARATOR}{splits}"):
        raise UserError(f"splits cannot be called {plain(splits)!r}: give --name letters, digits, - and _")
    return f"{dataset}{SEPARATOR}{splits}"


def keep(folder: Path, dataset: str, splits: Mapping[str, str], source: str) -> bool:
    """Write the splits of ``dataset`` into a folder; False where they are there already.

    Raises UserError where the folder holds anything else.
    """
    content = {"of": dataset, "from": source, "splits": dict(sorted(splits.items()))}
    if folder.exists():
        if not (folder / FILE).is_file():
            raise UserError(f"{folder} holds something else (no {FILE} in it): give other --name")
        if {**read_record(folder / FILE), "from": source} == content:
            return False
        raise UserError(f"{folder} holds other splits: give other --name, or delete that folder")
    folder.mkdir(parents=True)
    write_record(folder / FILE, content)
    return True


def read(folder: Path, load: Callable[[str], Manifest]) -> Manifest:
    """The dataset that a folder with imported splits is of, in these. ``load`` reads a dataset by its name.

    Images that are not listed take no part. Raises UserError where listed images are not there any more.
    """
    try:
        content = read_record(folder / FILE, "import the splits again")
        dataset, source = str(content["of"]), str(content["from"])
        splits = {str(image): str(split) for image, split in content["splits"].items()}
    except (KeyError, AttributeError, OSError) as error:
        raise UserError(f"{folder / FILE} is no list of splits ({error!r}): import them again") from error
    manifest = load(dataset)
    ids = manifest.images["image_id"].astype(str)
    if absent := sorted(set(splits) - set(ids)):
        raise UserError(
            f"{folder.name}: {len(absent):,} image(s) of its list are not in {dataset} any more ({some(absent)}): "
            "complete the dataset, or import the list again under another name"
        )
    dealt = [splits.get(image, UNUSED) for image in ids]
    left_out = dealt.count(UNUSED)
    return replace(
        manifest,
        name=folder.name,
        images=manifest.images.assign(split=dealt),
        split_of=manifest.split_of or manifest.name,
        notes=(
            f"Splits of {dataset} imported from {plain(source)}.",
            *([f"{left_out:,} images of {dataset} are not in the list, and take no part."] * (left_out > 0)),
            *manifest.notes_without(SPLITS),
        ),
    )
