"""``NAME.toml`` beside ``NAME.csv``: what cannot be told from the table itself. One declaration makes key and help."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cxrbench.data.tables import read_text
from cxrbench.errors import UserError
from cxrbench.files.names import is_folder_name, plain, visible


def _key(help_text: str, example: str, default: Any = None) -> Any:
    """A key of the file: ``example`` is a value in TOML's spelling."""
    what = {"help": help_text, "example": example}
    if default is None or isinstance(default, str | int | tuple):
        return field(default=default, metadata=what)
    return field(default_factory=default, metadata=what)


@dataclass(frozen=True)
class Sidecar:
    """What the TOML file may say; all of it is optional. Each key says what it is in its declaration."""

    name: str | None = _key("what the dataset is called in results; by default as the file, or its folder", '"clinic"')
    image: str | None = _key(
        "column of image files, relative to this folder, or absolute; FILE.npy#17 is row 17", '"image"'
    )
    patient: str | None = _key("column of patients; without one each image counts as a patient", '"patient"')
    split: str | None = _key("column of train, val and test; without one patients are split 70/10/20", '"split"')
    split_seed: int | None = _key("make the splits that are not given stratified by label, with this seed", "7")
    study: str | None = _key("column of studies: the images of one examination, and its report", '"study"')
    view: str | None = _key("column of views: PA, AP or lateral", '"view"')
    sex: str | None = _key("column of sexes, for leaderboard --by sex", '"sex"')
    age: str | None = _key("column of ages in years (058Y, 58), for leaderboard --by age and NAME:regression", '"age"')
    site: str | None = _key("column of hospitals, for leaderboard --by site", '"site"')
    scanner: str | None = _key("column of machines, for leaderboard --by scanner", '"scanner"')
    report: str | None = _key("column of whole reports; headings FINDINGS: and IMPRESSION: are read", '"report"')
    findings: str | None = _key("column of the findings section of reports", '"findings"')
    impression: str | None = _key("column of the impression section of reports", '"impression"')
    mask: str | None = _key("column of mask images (or columns mask:LABEL, for masks that overlap)", '"mask"')
    label: str | None = _key("column of class names, several joined by |; or give labels", '"label"')
    labels: tuple[str, ...] = _key(
        "columns of 0 and 1 (True and False, yes and no), empty where unknown", '["effusion"]', ()
    )
    kind: str | None = _key("multilabel, or multiclass: classes that exclude each other", '"multilabel"')
    regression: tuple[str, ...] = _key(
        "columns of numbers to be predicted, empty where unknown", '["severity", "age"]', ()
    )
    mask_label: str = _key("what the masks of the column mask show", '"lung"', "mask")
    mask_classes: Mapping[str, int] = _key(
        "masks of several classes: the pixel value of each", "{ lung = 1, heart = 2 }", dict
    )
    mask_ignore: int | None = _key("pixel value in masks that counts for nothing", "127")
    masks_complete: bool = _key(
        "true: an image without a mask has nothing to outline; else its mask is unknown", "true", False
    )
    source: str = _key("where the data come from", '"https://..."', "")
    licence: str = _key("their terms", '"CC BY 4.0"', "")
    lineage: tuple[str, ...] = _key(
        "datasets whose images these are: marks encoders that have seen them", '["nih"]', ()
    )
    groups: Mapping[str, tuple[str, ...]] = _key(
        "sets of labels to average over; macro is the headline", '{ macro = ["effusion"] }', dict
    )


LISTS = ("labels", "lineage", "regression")


def read_sidecar(path: Path) -> Sidecar:
    """Read the TOML file, or give an empty Sidecar where there is none. Raises UserError for unknown keys or values."""
    if not path.is_file():
        return Sidecar()
    try:
        values: dict[str, Any] = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as TOML ({plain(str(error))})") from error
    return sidecar_of(path, values)


def sidecar_of(path: Path, values: Mapping[str, Any]) -> Sidecar:
    """A Sidecar of values by key. ``path`` names them in errors. Raises UserError for unknown keys or values."""
    values = dict(values)
    known = [entry.name for entry in fields(Sidecar)]
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"{path} has the unknown key {plain(unknown[0])!r}; it may have {', '.join(known)}")
    for key in LISTS:
        if key in values:
            values[key] = _names(path, key, values[key])
    taken = _mask_keys(path, values) | _seed(path, values)
    groups = values.pop("groups", {})
    if not isinstance(groups, dict) or not all(groups.values()):
        raise UserError(f"{path}: groups must be a table of lists of label names, none of them empty")
    for key, value in values.items():
        if key not in LISTS and not isinstance(value, str):
            raise UserError(f"{path}: {key} must be text, not {plain(repr(value))}")
        if isinstance(value, str) and visible(value) != value:
            raise UserError(f"{path}: {key} has control characters in it: {plain(value)}")
    if "name" in values and not is_folder_name(values["name"]):
        raise UserError(f"{path}: name {values['name']!r} must do as a folder's name: no /, no \\, no dot in front")
    if values.get("kind", "multilabel") not in ("multilabel", "multiclass"):
        raise UserError(
            f"{path}: kind must be multilabel or multiclass, not {values['kind']!r}; numbers to be predicted are named "
            'by regression = ["COLUMN"]'
        )
    if "label" in values and "labels" in values:
        raise UserError(f"{path}: give label (one column of class names) or labels (columns of 0 and 1), not both")
    if both := {values.get("label"), *values.get("labels", ())} & {*values.get("regression", ())}:
        raise UserError(f"{path}: column {plain(str(min(both)))!r} is a label or a number to be predicted, not both")
    named = {name: _names(path, f"groups.{name}", items) for name, items in groups.items()}
    return Sidecar(**values, **taken, groups=named)


def dataset_name(path: Path, sidecar: Sidecar) -> str:
    """What the dataset of a CSV or COCO JSON is called: the sidecar's ``name``, else the file's, of ``labels`` the
    folder's.
    """
    whole = Path(os.path.abspath(path.expanduser()))
    return sidecar.name or (whole.parent.name if whole.stem == "labels" else whole.stem)


def _seed(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``values`` the seed of the splits."""
    if "split_seed" not in values:
        return {}
    seed = values.pop("split_seed")
    if type(seed) is not int or seed < 0:
        raise UserError(f"{path}: split_seed is a whole number from 0 on, not {plain(repr(seed))}")
    return {"split_seed": seed}


def _mask_keys(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``values`` what it says of masks that is not text, and check it."""
    taken = {key: values.pop(key) for key in ("mask_classes", "mask_ignore", "masks_complete") if key in values}
    classes, ignore = taken.get("mask_classes", {}), taken.get("mask_ignore", -1)
    numbers = [*classes.values(), ignore] if isinstance(classes, dict) else [None]
    if not all(type(number) is int for number in numbers):
        raise UserError(f"{path}: mask_classes and mask_ignore need whole numbers, as in {{ lung = 1, heart = 2 }}")
    if not all(0 <= number < 2**31 for number in (*classes.values(), max(ignore, 0))):
        raise UserError(f"{path}: mask_classes and mask_ignore are values of pixels, from 0 on")
    if len(set(numbers)) < len(numbers):
        raise UserError(f"{path}: two of mask_classes and mask_ignore have the same pixel value")
    if type(taken.get("masks_complete", True)) is not bool:
        raise UserError(f"{path}: masks_complete is true or false")
    if classes and "mask_label" in values:
        raise UserError(f"{path}: give mask_label (masks of one class) or mask_classes (of several), not both")
    return taken


def _names(path: Path, key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{path}: {key} must be a list of names, not {plain(repr(value))}")
    if len(set(value)) < len(value):
        raise UserError(f"{path}: {key} has a name twice")
    return tuple(value)
