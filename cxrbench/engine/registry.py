"""Names to encoders, datasets and tasks. Built-in ones are plugins like anybody else's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.data.manifest import Dataset, Manifest
from cxrbench.encoder import EncoderPlugin
from cxrbench.engine.names import PREPARED, dataset_problem
from cxrbench.errors import UserError
from cxrbench.plugins import entry_points
from cxrbench.plugins.entry_points import DATASETS, ENCODERS, TASKS, load_plugin, loadable
from cxrbench.task import Task

if TYPE_CHECKING:
    from cxrbench.plugins.loading import LoadedEncoder

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


def load_dataset(name: str, data: Path | None, phantom: Callable[[], Path]) -> Manifest:
    """Read the dataset ``name``: a registered name, a folder ``data/NAME`` with a ``labels.csv``, or a CSV's path.

    The path of a COCO JSON will do, too. A folder ``data/NAME`` may hold a prepared copy instead of the original.

    ``data``: the folder that holds one folder per dataset, or None, in which case ``phantom()`` makes one. Raises
    UserError that says where it looked, where the data comes from and under which terms.
    """
    from cxrbench.data.custom.dataset import read_csv

    if (problem := dataset_problem(name, data)) is not None:
        raise problem
    path = Path(name).expanduser()
    if path.is_file():
        return stamped(read_csv(path), path.parent)
    root = data if data is not None else phantom()
    folder = root / name
    if (folder / PREPARED).is_file():
        from cxrbench.data.prepared.copy import read_prepared

        return stamped(read_prepared(folder), folder)
    if name not in entry_points.found(DATASETS):
        return stamped(replace(read_csv(folder / "labels.csv"), name=name), folder)
    adapter = load_plugin(DATASETS, name, "dataset")
    if not isinstance(adapter, Dataset):
        raise UserError(f"dataset plugin {name} is a {type(adapter).__name__}, not a cxrbench.data.manifest.Dataset")
    if not folder.is_dir():
        where = f"no folder {folder}" if data is not None else "there is no phantom of it and no data folder is given"
        raise UserError(f"dataset {name}: {where}; get it from {adapter.source} (terms: {adapter.licence})")
    return stamped(adapter.read(folder), folder)


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


def parse_tasks(text: str) -> list[tuple[str, str | None]]:
    """Split ``vindr,rsna:classification,./labels.csv:classification`` into (dataset, protocol or None for all).

    The protocol is what follows the last colon, if that is no part of a path: an existing path is taken whole.
    It is the bare name: what differs from the protocol's default is said by options.
    """
    tasks: list[tuple[str, str | None]] = []
    for part in (p.strip() for p in text.split(",")):
        dataset, colon, protocol = part.rpartition(":")
        whole = not colon or "/" in protocol or protocol.endswith((".csv", ".json")) or Path(part).exists()
        task = (part, None) if whole else (dataset, protocol)
        if not task[0] or task[1] == "":
            raise UserError(f"tasks {text!r} have an empty part: the grammar is DATASET[:PROTOCOL],...")
        if task[1] and "+" in task[1]:
            bare, _, extra = task[1].partition("+")
            raise UserError(
                f"protocol {task[1]!r}: name it {bare!r} alone and say the rest ({extra}) by options such as "
                "--decoder, --finetune, --views or --folds"
            )
        if task not in tasks:
            tasks.append(task)
    return tasks
