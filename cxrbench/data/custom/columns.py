"""What each column of a user's CSV is: from the sidecar file where there is one, else from its name."""

from collections.abc import Mapping
from pathlib import Path

from cxrbench.data.custom.sidecar import Sidecar
from cxrbench.data.tables import Table
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

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
    "report": ("report", "report_text", "radiology_report"),
    "impression": ("impression",),
    "findings": (),
    "mask": ("mask", "mask_path", "mask_file", "segmentation"),
    "label": ("label", "labels", "class", "class_name", "finding", "findings", "finding_labels", "diagnosis", "target"),
}  # fmt: skip

PREFIXED = ("mask", "regression")
"""What a column says before a colon: ``mask:lung``, ``regression:severity``."""

BOTH = ("age",)
"""What is known of a patient may be a number to be predicted, too."""

ROLE_NAMES = frozenset(alias for role, aliases in ALIASES.items() if role != "label" for alias in aliases)
"""Names of columns that are no labels, whatever they hold."""


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
    meant = {getattr(sidecar, role) for role in ALIASES} | {*sidecar.regression}  # no name of these says what it is
    for role, aliases in ALIASES.items():
        named = getattr(sidecar, role)
        if named is not None and named not in table:
            raise UserError(
                f"{path.with_suffix('.toml')} names column {named!r} for {role}; {path.name} has no such column"
            )
        if named is not None and named in columns.values():
            raise UserError(f"{path.with_suffix('.toml')} names column {named!r} twice; a column has one meaning")
        if role == "findings" and "impression" in columns and sidecar.label != "findings":
            aliases = ("findings",)  # beside an impression it is the report's other section, not a list of labels
        alias = next((alias for alias in aliases if alias in spellings), None)
        if named is None and alias is not None and len(spellings[alias]) > 1:
            raise UserError(
                f"{path} has the columns {some(spellings[alias])}: say which is the {role} in "
                f"{path.with_suffix('.toml').name}, or rename one"
            )
        found = named or (spellings[alias][0] if alias is not None else None)
        elsewhere = named is None and found in meant and role not in ("image", *BOTH)
        if found is not None and found not in columns.values() and not elsewhere:
            columns[role] = found
    if "image" not in columns:
        raise UserError(
            f"{path} has no column of image files: call it 'image', or name it in {path.with_suffix('.toml').name}; "
            f"the columns are {', '.join(map(plain, table))}"
        )
    return columns


def prefixed(table: Table, prefix: str) -> dict[str, str]:
    """Columns ``PREFIX:NAME`` by name, in the table's order."""
    parts = [(name, name.partition(":")) for name in table]
    return {
        rest.strip(): name for name, (head, _, rest) in parts if plain_name(head.strip()) == prefix and rest.strip()
    }
