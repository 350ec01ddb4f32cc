"""What was typed of a paper: a table, encoders of one's own, a variant; a slip is told before anything else."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrbench.errors import UserError
from cxrbench.files.folders import data_folder
from cxrbench.papers.paper import Paper, PaperTable
from cxrbench.papers.read import read_paper
from cxrbench.plugins.entry_points import unknown


def find_table(paper: str, number: str) -> tuple[Paper, PaperTable]:
    """A paper and one of its tables: ``3``, ``Table 3``. Raises UserError with what there is."""
    found = read_paper(paper)
    wanted = number.lower().removeprefix("table").strip(" .")
    if (table := found.table(wanted)) is None:
        drawn = re.fullmatch(r"fig(?:ure)?[. ]*(\w+)", wanted)
        if drawn and (figure := [one for one in found.figures if one.number == drawn[1]]):
            how = f"`{figure[0].command}`" if figure[0].command else "no command yet"
            raise UserError(f"{paper} figure {figure[0].number} is a picture ({figure[0].title}): {how}")
        raise UserError(f"{paper} has {unknown('table', number, [one.number for one in found.tables])}")
    return found, table


def own_specs(paper: Paper, given: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """Specs by the names of a paper's encoders. Raises UserError for a name that is none, or that may be several."""
    pairs = given.items() if isinstance(given, Mapping) else [_pair(one) for one in given]
    found = {}
    for name, spec in pairs:
        exact = [one for one in paper.encoders if one.lower() == name.strip().lower()]
        begins = exact or [one for one in paper.encoders if one.lower().startswith(name.strip().lower())]
        if len(begins) > 1:
            raise UserError(f"--encoder {name}=...: it may be {', '.join(begins)}")
        if not begins:
            raise UserError(f"--encoder {name}=...: {unknown('encoder of this paper', name, list(paper.encoders))}")
        found[begins[0]] = spec.strip()
    return found


def data_there(given: Path | str | None) -> Path | None:
    """The data folder, None for the phantom. Raises UserError where there is no such folder."""
    folder = data_folder(given)
    if folder is not None and not folder.is_dir():
        raise UserError(
            f"there is no data folder {folder}: give --data (or CXRBENCH_DATA) the folder that has one folder per "
            "dataset; without either the phantom serves"
        )
    return folder


def refuse_wrong(paper: Paper, own: Mapping[str, str], variant: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError for what was typed wrongly: it is no reason of a table's."""
    from cxrbench.engine.job import check_values
    from cxrbench.engine.names import encoder_problem
    from cxrbench.engine.settings import checked_settings
    from cxrbench.tasks.presets.recipes import parse

    check_values(checked_settings(settings))
    if variant:
        parse(f"{paper.preset}:{variant}")
    for spec in own.values():
        if (problem := encoder_problem(spec)) is not None:
            raise problem


def _pair(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not equals or not name.strip() or not spec.strip():
        raise UserError(f"--encoder {text!r}: the grammar is NAME=SPEC, e.g. 'S-PCL=spcl@runs/x/encoder.safetensors'")
    return name, spec
