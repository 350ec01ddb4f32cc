"""What each column of a user's CSV is: from the sidecar file where there is one, else from its name."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cxrbench.data.tables import Table, read_text
from cxrbench.errors import UserError
from cxrbench.files.names import is_folder_name, plain, some, visible

ALIASES: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image", "image_path", "path", "file", "file_path", "filepath", "filename", "file_name", "image_file", "img",
        "dicom", "image_index", "image_id",
    ),
    "patient": ("patient", "patient_id", "patientid", "patient_key", "subject", "subject_id", "subjectid"),
    "split": ("split", "subset", "partition"),
    "study": ("study", "study_id", "studyid", "accession", "accession_number"),
    "view": ("view", "view_position", "viewposition", "projection"),
    "sex": ("sex", "gender", "patient_sex", "patient_gender"),
    "age": ("age", "patient_age"),
    "site": ("site", "hospital", "institution"),
    "scanner": ("scanner", "manufacturer"),
    "mask": ("mask", "mask_path", "mask_file", "segmentation"),
    "label": ("label", "labels", "class", "class_name", "finding", "findings", "finding_labels", "diagnosis", "target"),
}  # fmt: skip

ROLE_NAMES = frozenset(alias for role, aliases in ALIASES.items() if role != "label" for alias in aliases)
"""Names of columns that are no labels, whatever they hold."""


@dataclass(frozen=True)
class Sidecar:
    """What ``NAME.toml`` beside ``NAME.csv`` may say; all of it is optional.

    ``image`` ... ``mask`` name columns. ``label`` names one column of class names (``|`` between several), or
    ``labels`` lists columns of 0 and 1. ``kind`` is ``multilabel`` or ``multiclass``. ``mask_label`` says what the
    masks show; masks of several classes have ``mask_classes = { lung = 1, heart = 2 }``, the pixel value of each.
    ``mask_ignore`` is the value of pixels that count for nothing. ``masks_complete = true``: an image without a mask
    has nothing to outline; else its mask is unknown. ``groups`` names sets of labels.
    """

    name: str | None = None
    image: str | None = None
    patient: str | None = None
    split: str | None = None
    study: str | None = None
    view: str | None = None
    sex: str | None = None
    age: str | None = None
    site: str | None = None
    scanner: str | None = None
    mask: str | None = None
    label: str | None = None
    labels: tuple[str, ...] = ()
    kind: str | None = None
    mask_label: str = "mask"
    mask_classes: Mapping[str, int] = field(default_factory=dict)
    mask_ignore: int | None = None
    masks_complete: bool = False
    source: str = ""
    licence: str = ""
    lineage: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_sidecar(path: Path) -> Sidecar:
    """Read the TOML file, or give an empty Sidecar where there is none. Raises UserError for unknown keys or values."""
    if not path.is_file():
        return Sidecar()
    try:
        values: dict[str, Any] = tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as TOML ({plain(str(error))})") from error
    return sidecar_of(path, values)


def sidecar_of(path: Path, values: dict[str, Any]) -> Sidecar:
    """What these values, by key, say; ``path`` is what they are called. Raises UserError for unknown keys or values."""
    known = [entry.name for entry in fields(Sidecar)]
    if unknown := sorted(set(values) - set(known)):
        raise UserError(f"{path} has the unknown key {plain(unknown[0])!r}; it may have {', '.join(known)}")
    for key in ("labels", "lineage"):
        if key in values:
            values[key] = _names(path, key, values[key])
    masks = _mask_keys(path, values)
    groups = values.pop("groups", {})
    if not isinstance(groups, dict) or not all(groups.values()):
        raise UserError(f"{path}: groups must be a table of lists of label names, none of them empty")
    for key, value in values.items():
        if key not in ("labels", "lineage") and not isinstance(value, str):
            raise UserError(f"{path}: {key} must be text, not {plain(repr(value))}")
        if isinstance(value, str) and visible(value) != value:
            raise UserError(f"{path}: {key} has control characters in it: {plain(value)}")
    if "name" in values and not is_folder_name(values["name"]):
        raise UserError(f"{path}: name {values['name']!r} must do as a folder's name: no /, no \\, no dot in front")
    if values.get("kind", "multilabel") not in ("multilabel", "multiclass"):
        raise UserError(f"{path}: kind must be multilabel or multiclass, not {values['kind']!r}")
    if "label" in values and "labels" in values:
        raise UserError(f"{path}: give label (one column of class names) or labels (columns of 0 and 1), not both")
    named = {name: _names(path, f"groups.{name}", items) for name, items in groups.items()}
    return Sidecar(**values, **masks, groups=named)


def dataset_name(path: Path, sidecar: Sidecar) -> str:
    """What the dataset of a CSV or COCO JSON is called: the sidecar's ``name``, else the file's, of ``labels`` the
    folder's.
    """
    whole = Path(os.path.abspath(path.expanduser()))
    return sidecar.name or (whole.parent.name if whole.stem == "labels" else whole.stem)


def plain_name(column: str) -> str:
    """A column's name without case, blanks and hyphens, as ``ALIASES`` has it."""
    return column.lower().replace(" ", "_").replace("-", "_")


def find_columns(path: Path, table: Table, sidecar: Sidecar) -> dict[str, str]:
    """Column of the CSV for each role in ``ALIASES`` that has one; ``image`` always has. Raises UserError.

    Case, blanks and hyphens in column names do not matter; of several candidates the first alias wins.
    """
    spellings: dict[str, list[str]] = {}
    for name in table:
        spellings.setdefault(plain_name(name), []).append(name)
    columns: dict[str, str] = {}
    for role, aliases in ALIASES.items():
        named = getattr(sidecar, role)
        if named is not None and named not in table:
            raise UserError(
                f"{path.with_suffix('.toml')} names column {named!r} for {role}; {path.name} has no such column"
            )
        if named is not None and named in columns.values():
            raise UserError(f"{path.with_suffix('.toml')} names column {named!r} twice; a column has one meaning")
        alias = next((alias for alias in aliases if alias in spellings), None)
        if named is None and alias is not None and len(spellings[alias]) > 1:
            raise UserError(
                f"{path} has the columns {some(spellings[alias])}: say which is the {role} in "
                f"{path.with_suffix('.toml').name}, or rename one"
            )
        found = named or (spellings[alias][0] if alias is not None else None)
        if found is not None and found not in columns.values():
            columns[role] = found
    if "image" not in columns:
        raise UserError(
            f"{path} has no column of image files: call it 'image', or name it in {path.with_suffix('.toml').name}; "
            f"the columns are {', '.join(map(plain, table))}"
        )
    return columns


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
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{path}: {key} must be a list of names, not {plain(repr(value))}")
    if len(set(value)) < len(value):
        raise UserError(f"{path}: {key} has a name twice")
    return tuple(value)
