"""What is known of the patient and the machine beside the findings: results can be shown by it.

It stands in the manifest's image table in columns of its own (``group:sex``, ...), as text, "" where unknown, and is no
part of the dataset's fingerprint: no result depends on it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from cxrbench.data.manifest import Manifest
from cxrbench.data.tables import Table, is_empty
from cxrbench.errors import UserError
from cxrbench.files.names import some

PREFIX = "group:"
ATTRIBUTES = ("sex", "age", "site", "scanner")
BY = (*ATTRIBUTES, "view")
VIEWS = {
    "PA": "PA", "POSTEROANTERIOR": "PA", "AP": "AP", "ANTEROPOSTERIOR": "AP",
    "L": "L", "LL": "L", "RL": "L", "LAT": "L", "LATERAL": "L",
}  # fmt: skip
SEXES = {"f": "F", "female": "F", "m": "M", "male": "M"}
AGE = re.compile(r"(\d{1,3})(?:\.\d+)?\s*([ymwd]?)", re.IGNORECASE)
IN_A_YEAR = {"": 1, "y": 1, "m": 12, "w": 52.1775, "d": 365.2425}
OLDEST = 120  # ChestX-ray14 has ages up to 414
BANDS = ((0, "0–39"), (40, "40–59"), (60, "60–79"), (80, "80+"))


def with_attributes(images: pd.DataFrame, table: Table, columns: Mapping[str, str]) -> pd.DataFrame:
    """An image table with what a table of the same rows knows: ``columns`` names its columns by attribute.

    Columns that are not there are passed over. Sex becomes F or M where it says so, age whole years.
    """
    found = {PREFIX + name: _read(name, table[of]) for name, of in columns.items() if of in table}
    return images.assign(**found)


def read_views(cells: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """PA, AP, L, or "" where unknown, of each cell; and a note on cells that are none of them."""
    views = [VIEWS.get("".join(cell.upper().split()).replace("-", ""), "") for cell in cells]
    strange = [cell for cell, view in zip(cells, views, strict=True) if not view and not is_empty(cell)]
    if not strange:
        return views, ()
    names = some(sorted(set(strange)))
    return views, (f"{len(strange):,} cells are no view (PA, AP, lateral), and so unknown: {names}.",)


def attributes(images: pd.DataFrame) -> pd.DataFrame:
    """The columns of attributes alone, by ``image_id``."""
    names = [name for name in images.columns if str(name).startswith(PREFIX)]
    return pd.DataFrame(images[["image_id", *names]]).set_index("image_id")


def check_ways(ways: Sequence[str]) -> None:
    """Raise UserError for a way of grouping that there is not, for one that is named twice, and for none."""
    for by in ways or ("",):
        if by not in BY:
            raise UserError(f"--by {by}: choose from {', '.join(sorted(BY))}")
        if ways.count(by) > 1:
            raise UserError(f"--by: {by} is named twice")


def group_of(manifest: Manifest, by: str) -> dict[str, str]:
    """The group of every image, and of every study whose images agree, by its id; "" where it is unknown.

    Ages are in bands (0–39, 40–59, 60–79, 80+). Empty where the dataset does not know. Raises UserError for anything
    but sex, age, site, scanner and view.
    """
    check_ways((by,))
    column = by if by == "view" else PREFIX + by
    if column not in manifest.images:
        return {}
    cells = manifest.images[column].astype(str)
    groups = cells.map(band) if by == "age" else cells
    of_study = groups.groupby(manifest.images["study_id"]).agg(["first", "nunique"])
    agreed = {study: first if count == 1 else "" for study, first, count in of_study.itertuples()}
    return agreed | dict(zip(manifest.images["image_id"], groups, strict=True))


def band(age: str) -> str:
    """The age band of whole years as text."""
    return next((name for start, name in reversed(BANDS) if int(age) >= start), "") if age else ""


def _read(name: str, cells: Iterable[str]) -> list[str]:
    known = ["" if is_empty(cell) else cell for cell in cells]
    if name == "age":
        return [years(cell) for cell in known]
    return [SEXES.get(cell.lower(), cell) for cell in known] if name == "sex" else known


def years(cell: str) -> str:
    """``058Y``, ``58``, ``58.0`` and ``700M`` are 58 whole years; anything else is unknown."""
    match = AGE.fullmatch(cell)
    whole = OLDEST + 1 if match is None else int(int(match[1]) / IN_A_YEAR[match[2].lower()])
    return str(whole) if whole <= OLDEST else ""
