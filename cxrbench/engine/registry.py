"""Names to encoders, datasets and tasks. Built-in ones are plugins like anybody else's."""

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data.kept import Origin, read_kept
from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.data.split_lists.kept import read as read_in_other_splits
from cxrbench.data.splits import near_equal
from cxrbench.data.tables import is_empty
from cxrbench.encoder import EncoderPlugin
from cxrbench.engine.names import PREPARED, SPLITS, TABLES, dataset_problem, is_folder, is_path
from cxrbench.errors import UserError
from cxrbench.files.names import some
from cxrbench.plugins import entry_points
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS, load_plugin, loadable
from cxrbench.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from cxrbench.plugins.loading import LoadedEncoder

KEPT = "manifests"  # in the cache folder
PHANTOM_MARK = "PHANTOM.json"
"""A dataset folder with this file in it holds phantom images: all that comes of it is stamped synthetic."""


def load_encoder(text: str, *, synthetic: bool) -> "LoadedEncoder":
    """Build the encoder that ``text`` names, in eval mode with frozen weights, and say who it is.

    ``synthetic``: whether it is for phantom data, where a bare name may mean weights that are fit for nothing else.
    Raises UserError for an unknown name, weights that do not fit, or a plugin that does not keep the contract.
    """
    from cxrbench.plugins.loading import build_encoder, import_file
    from cxrbench.plugins.specs import parse_encoder

    request = parse_encoder(text)
    if request.name.endswith(".py"):
        plugin = import_file(Path(request.name), request.variant or "")
        request = request._replace(variant=None)
    else:
        plugin = load_plugin(ENCODERS, request.name, "encoder")
    if isinstance(plugin, EncoderPlugin) and plugin.phantom_weights and request.weights is None:
        if not synthetic:
            raise UserError(f"encoder {text!r} has no weights for real images: {plugin.without_weights}")
        request = request._replace(weights=plugin.phantom_weights)
    return build_encoder(text, request, plugin)


def load_dataset(name: str, data: Path | None, phantom: Callable[[], Path], *, cache: Path | None = None) -> Manifest:
    """Read the dataset ``name``: a registered name, a folder ``data/NAME`` with a ``labels.csv``, or a CSV's path.

    The path of a COCO JSON will do, too, or one of a folder (with a slash in it): of such a dataset, or of images. A
    folder ``data/NAME`` may hold a prepared copy instead of the original.

    ``data``: the folder that holds one folder per dataset, or None, in which case ``phantom()`` makes one. ``cache``:
    the folder in which manifests are kept (``data/kept.py``); without one everything is read. Raises UserError that
    says where it looked, where the data comes from and under which terms.
    """
    if (problem := dataset_problem(name, data)) is not None:
        raise problem
    kept = cache / KEPT if cache is not None else None
    path = Path(name).expanduser()
    if path.is_file():
        return _finished(read_kept(_own_table(path), kept), path.parent)
    if is_folder(name):
        place = Path(os.path.abspath(path))  # not resolved: a link may have another name
        name, data = place.name, place.parent
        if name not in entry_points.found(DATASETS) and not any((place / table).is_file() for table in TABLES):
            return _finished(read_kept(_folder(place), kept), place)
    root = data if data is not None else phantom()
    folder = root / name
    if (folder / SPLITS).is_file():
        return read_in_other_splits(folder, lambda of: load_dataset(of, data, phantom, cache=cache))
    if (folder / PREPARED).is_file():
        return _finished(read_kept(_copy(folder), kept), folder)
    if name not in entry_points.found(DATASETS):
        manifest = read_kept(_own_table(folder / "labels.csv"), kept)
        return _finished(replace(manifest, name=name), folder)
    adapter = load_plugin(DATASETS, name, "dataset")
    if not isinstance(adapter, Dataset):
        raise UserError(f"dataset plugin {name} is a {type(adapter).__name__}, not a cxrbench.data.manifest.Dataset")
    if not folder.is_dir():
        where = f"no folder {folder}" if data is not None else "there is no phantom of it and no data folder is given"
        raise UserError(f"dataset {name}: {where}; get it from {adapter.source} (terms: {adapter.licence})")
    origin = Origin(folder, lambda: adapter.read(folder), code=_code_of(adapter))
    return _finished(read_kept(origin, kept), folder)


def load_frame(frame: "pd.DataFrame", name: str | None) -> Manifest:
    """A DataFrame as a dataset, image paths relative to the current folder; ``name`` as of ``read_named_frame``.

    Synthetic if any of its images lies below a folder with the phantom's mark. Raises UserError.
    """
    from cxrbench.data.custom.named_frame import read_named_frame
    from cxrbench.data.stamps import with_stamps

    manifest = with_stamps(read_named_frame(frame, name, Path.cwd()), {})
    return replace(_finished(manifest, manifest.root), synthetic=any_phantom(manifest.paths()))


def any_phantom(images: Iterable[Path]) -> bool:
    """Whether one of these image files lies below a folder with the phantom's mark."""
    folders = {path.absolute().parent for path in images}
    return any((above / PHANTOM_MARK).is_file() for above in {up for one in folders for up in (one, *one.parents)})


def _own_table(path: Path) -> Origin:
    """A user's own CSV or COCO JSON."""
    from cxrbench.data.custom.dataset import read_csv

    table = path.absolute()
    return Origin(table.parent, lambda: read_csv(table), table=table)


def _folder(folder: Path) -> Origin:
    """A folder of images and nothing else."""
    from cxrbench.data.custom.folder import read_folder

    return Origin(folder, lambda: read_folder(folder))


def _copy(folder: Path) -> Origin:
    """A prepared copy."""
    from cxrbench.data.prepared.copy import read_prepared

    return Origin(folder, lambda: read_prepared(folder))


def _code_of(adapter: Dataset) -> Path | None:
    """The folder of the module that a dataset's reader is defined in."""
    module = sys.modules.get(getattr(adapter.read, "__module__", ""))
    file = getattr(module, "__file__", None)
    return Path(file).parent if file else None


def _finished(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest, checked for patients that are none or may be one, and stamped where it is phantom data.

    Raises UserError for images whose patient is "nan" or the like.
    """
    patients, splits = manifest.images["patient_id"].tolist(), manifest.images["split"].tolist()
    if nobody := sorted({patient for patient in patients if is_empty(patient)}):
        count = sum(patient in nobody for patient in patients)
        raise UserError(
            f"{manifest.name} in {folder}: {count:,} image(s) have the patient {nobody[0]!r}, who is nobody"
        )
    if pairs := near_equal(patients, splits):
        alike = some([f"{one} and {other}" for one, other in pairs])
        note = f"{len(pairs):,} pair(s) of patients in different splits have all but the same identifier: {alike}."
        manifest = replace(manifest, notes=(*manifest.notes, note))
    return stamped(manifest, folder)


def stamped(manifest: Manifest, folder: Path) -> Manifest:
    """The manifest, marked synthetic if its folder carries the phantom's mark."""
    return replace(manifest, synthetic=True) if (folder / PHANTOM_MARK).is_file() else manifest


def dataset_adapters() -> dict[str, Dataset]:
    """Every installed dataset adapter by name; what cannot be imported is passed over."""
    adapters = loadable(DATASETS, "dataset")
    return {name: adapter for name, adapter in adapters.items() if isinstance(adapter, Dataset)}


def load_task(protocol: str) -> Task:
    """The task of a protocol's name, e.g. ``classification``. Raises UserError with the nearest names."""
    return load_plugin(TASKS, protocol, "protocol")


def split_task(text: str) -> tuple[str, str | None]:
    """``DATASET[:PROTOCOL]`` as (dataset, protocol or None): what follows the last colon, if that is in no path."""
    dataset, colon, protocol = text.rpartition(":")
    whole = not colon or "/" in protocol or protocol.endswith((".csv", ".json")) or Path(text).exists()
    return (text, None) if whole else (dataset, protocol)


def saved_task(text: str) -> str:
    """``DATASET[:PROTOCOL]`` as results name it: a CSV (or COCO JSON) by its dataset's name.

    A protocol's options are part of its name here: ``siim:segmentation+upernet``. Raises UserError for a file that
    cannot be read.
    """
    dataset, protocol = split_task(text)
    if is_path(dataset):
        from cxrbench.data.custom.sidecar import dataset_name, read_sidecar

        path = Path(dataset).expanduser()
        dataset = dataset_name(path, read_sidecar(path.with_suffix(".toml")))
    return dataset if protocol is None else f"{dataset}:{protocol}"


def parse_tasks(text: str) -> list[tuple[str, str | None]]:
    """Split ``vindr,rsna:classification,./labels.csv:classification`` into (dataset, protocol or None for all).

    The protocol is what follows the last colon, if that is no part of a path: an existing path is taken whole.
    It is the bare name: what differs from the protocol's default is said by options.
    """
    tasks: list[tuple[str, str | None]] = []
    for part in (p.strip() for p in text.split(",")):
        task = split_task(part)
        if not task[0] or task[1] == "":
            raise UserError(f"tasks {text!r} have an empty part: the grammar is DATASET[:PROTOCOL],...")
        if task[1] and "+" in task[1]:
            bare, _, extra = task[1].partition("+")
            raise UserError(
                f"protocol {task[1]!r}: name it {bare!r} alone and say the rest ({extra}) by options such as "
                "--decoder, --finetune, --views, --budget or --folds"
            )
        if task not in tasks:
            tasks.append(task)
    return tasks
