"""The TOML file beside a user's table, written: what is understood of it, and every other key."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cxrbench.data.custom.columns import PREFIXED, find_columns, plain_name
from cxrbench.data.custom.dataset import read_csv
from cxrbench.data.custom.sidecar import Sidecar, dataset_name
from cxrbench.data.manifest import Manifest
from cxrbench.data.tables import read_table
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.toml import toml_value


def write_sidecar(path: Path, split_seed: int | None = None) -> Path:
    """Write ``NAME.toml`` beside a CSV or COCO JSON: with it the table means what it means without. Returns its path.

    ``split_seed``: makes the splits stratified, which is the one thing that it may change. Raises UserError for a table
    that is not understood, and where the file is there already.
    """
    path = path.expanduser().absolute()
    place = path.with_suffix(".toml")
    if path.is_dir():
        raise UserError(
            f"{path} is a folder: give the CSV (or COCO JSON) in it; a folder of images alone needs no TOML file"
        )
    if not path.is_file():
        raise UserError(f"no file {path}: give the CSV (or COCO JSON) whose TOML file is to be written")
    if place.exists():
        seed = f"split_seed = {split_seed}" if split_seed is not None else "what is missing"
        raise UserError(f"{place} is there already: write {seed} into it, or move it away")
    text = document(path, understood(path, read_csv(path), split_seed))
    with writing(place.parent), atomic_path(place) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return place


def understood(path: Path, manifest: Manifest, split_seed: int | None = None) -> dict[str, Any]:
    """The keys that say what a table's reader decided by itself, of a table without a sidecar."""
    said: dict[str, Any] = {"name": dataset_name(path, Sidecar())}
    if split_seed is not None:
        said["split_seed"] = split_seed
    if path.suffix.lower() == ".json":
        return said
    table = read_table(path)
    columns = find_columns(path, table, Sidecar())
    said |= {role: column for role, column in columns.items() if role != "label"}
    if "mask" in columns:
        said["mask_label"] = Sidecar.mask_label
    if {*manifest.labels} <= {*table} and manifest.boxes is None:
        said |= {"labels": list(manifest.labels)} if manifest.labels else {}
    elif manifest.labels:
        said["label"] = columns["label"]
    if manifest.labels:
        said["kind"] = manifest.kind
    named = [name for name in manifest.quantities if name in table and not _says_itself(name)]
    return said | ({"regression": named} if named else {})


def document(path: Path, said: Mapping[str, Any]) -> str:
    """The file's text: a comment for each key, and the key with what is ``said``, or behind a # with an example."""
    lines = [
        f"# What cxrbench understands of {path.name}. Every key may be left out; one behind a # says nothing.",
        "# `cxrbench data check` shows what comes of it.",
    ]
    for entry in fields(Sidecar):
        help_text, example = entry.metadata["help"], entry.metadata["example"]
        value = toml_value(said[entry.name]) if entry.name in said else None
        lines += ["", f"# {help_text}", f"{entry.name} = {value}" if value else f"# {entry.name} = {example}"]
    return "\n".join(lines) + "\n"


def _says_itself(column: str) -> bool:
    """Whether a column is known by what its name begins with (``regression:severity``)."""
    return plain_name(column.partition(":")[0].strip()) in PREFIXED and ":" in column
