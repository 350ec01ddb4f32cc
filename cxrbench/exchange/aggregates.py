"""Sufficient statistics of columns as an exchange file, for where no row of a patient may leave, hashed or not."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cxrbench import __version__
from cxrbench.engine.results import exact
from cxrbench.errors import UserError
from cxrbench.exchange.archive import write_pack
from cxrbench.exchange.check import findings
from cxrbench.exchange.deidentified import Deidentifier
from cxrbench.exchange.pack import Packed, Told, from_others, identifiers, whole
from cxrbench.exchange.salt import Salt
from cxrbench.exchange.store_files import stored_files
from cxrbench.files.names import safe_name
from cxrbench.files.records import write_record


def pack_aggregates(results: Path, records: Sequence[Mapping[str, Any]], lines: Sequence[str], out: Path) -> Packed:
    """Write records of columns into one file, their texts searched for what identifies anybody of ``results``.

    ``lines``: what is to be told of what was left out. Of damaged files, which are named, no identifiers are known.
    Raises UserError where nothing is left, or where what was written would still identify somebody.
    """
    files, damaged = whole([*stored_files(results)], results)
    known, told = identifiers(files), Told(dict.fromkeys([*from_others(files), *lines]))
    if not records:
        raise UserError(
            f"no column of {results} has patients enough for an aggregate: {'; '.join(lines) or 'no cells'}"
        )
    clean = Deidentifier(Salt(secrets.token_bytes(32)), known, told)  # of no identifier a trace is left, hashed or not
    with TemporaryDirectory(prefix="cxrbench-") as folder:
        store = Path(folder)
        for record in records:
            found = _cleaned(record, clean)
            write_record(store / "aggregates" / f"{name_of(found)}.json", found)
        if still := findings(store, known):
            raise UserError(f"not packed: {still[0].what} would stand in {still[0].where}: report this")
        facts = {
            "content": "aggregates", "version": __version__, "salt": "", "attributes": [],
            "counts": {"aggregates": len(records)},
        }  # fmt: skip
        write_pack(store, facts, out)
    return Packed(out, {"aggregates": len(records)}, tuple(told.lines), tuple(damaged))


def name_of(record: Mapping[str, Any]) -> str:
    """The name of a column's file: data set, protocol, label fraction."""
    synthetic, dataset, protocol, fraction = record["task"]
    kind = "-synthetic" if synthetic else ""
    return f"{safe_name(dataset)}-{safe_name(protocol)}-{exact(float(fraction))}{kind}"


def _cleaned(record: Mapping[str, Any], clean: Deidentifier) -> dict[str, Any]:
    """The same numbers, and the texts that hold nothing of anybody."""
    where = f"{record['task'][1]}:{record['task'][2]}"

    def sentences(values: Sequence[str]) -> list[str]:
        return [clean.text(text, where) for text in values]

    metrics = [{**metric, "left_out": sentences(metric["left_out"])} for metric in record["metrics"]]
    return {
        **record,
        "notes": sentences(record["notes"]),
        "metrics": metrics,
        **{
            key: {name: clean.text(text, where) if text else "" for name, text in record[key].items()}
            for key in ("marks", "assumed", "not_applicable")
        },
    }
