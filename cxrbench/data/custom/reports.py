"""The reports in a user's CSV: one whole text, or its two sections, for each study."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cxrbench.data.report_text import Sections, sections
from cxrbench.data.tables import Table, is_empty, is_number
from cxrbench.errors import UserError
from cxrbench.files.names import plain

ROLES = ("report", "findings", "impression")


def find_reports(
    path: Path, table: Table, columns: Mapping[str, str], studies: Sequence[str], patients: Sequence[str]
) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """``Manifest.reports``, or None where no column holds any; and notes. ``studies`` and ``patients``: of each row.

    A study's rows may repeat its report, or give it once. Raises UserError for a study with two reports or of two
    patients, and for a report that is a number.
    """
    named = [(role, columns[role]) for role in ROLES if role in columns]
    if not named:
        return None, ()
    texts: dict[str, tuple[int, Sections]] = {}
    owner: dict[str, tuple[int, str]] = {}
    for row, (study, patient) in enumerate(zip(studies, patients, strict=True)):
        cells = {role: "" if is_empty(cell := table[column][row]) else cell for role, column in named}
        if number := next((role for role, cell in cells.items() if cell and is_number(cell)), None):
            raise UserError(
                f"{path} row {row + 2}: column {columns[number]} holds {cells[number]!r}, which is no report"
            )
        first, whose = owner.setdefault(study, (row, patient))
        if whose != patient:
            raise UserError(
                f"{path} rows {first + 2} and {row + 2}: study {plain(study)} is of patients {plain(whose)} and "
                f"{plain(patient)}; a report needs studies whose names are their own"
            )
        text = _read(cells)
        if not any(text):
            continue
        before, said = texts.setdefault(study, (row, text))
        if said != text:
            raise UserError(
                f"{path} rows {before + 2} and {row + 2}: study {plain(study)} has two reports; give it one"
            )
    frame = pd.DataFrame(
        [(study, *text) for study, (_, text) in texts.items()], columns=["study_id", "findings", "impression"]
    )
    lacking = len(set(studies)) - len(texts)
    of = f"Reports: column {', '.join(column for _, column in named)}"
    return frame, (f"{of}; {lacking:,} of {len(set(studies)):,} studies have none." if lacking else f"{of}.",)


def _read(cells: Mapping[str, str]) -> Sections:
    """Sections that have columns of their own stand above those that are found in the whole text."""
    whole = sections(cells["report"]) if cells.get("report") else Sections("", "")
    one_line = {role: " ".join(cells.get(role, "").split()) for role in ("findings", "impression")}
    return Sections(one_line["findings"] or whole.findings, one_line["impression"] or whole.impression)
