"""Subgroups of patients as further columns of the tables that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cxrbench.files.names import visible
from cxrbench.leaderboard.page.columns import part, thousandths
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.subgroups.evaluate import ByGroup, GroupRecord


def with_groups(
    tables: list[dict[str, Any]],
    groups: Sequence[ByGroup],
    places: Mapping[str, int],
    shown: Mapping[str, str],
    labels: dict[str, int],
    spread: str,
) -> list[dict[str, Any]]:
    """The tables, whose columns have ``groups``: by a way of grouping, a part per group, and each encoder's gap.

    ``labels``: where names get their numbers; ``shown``: what encoders are called.
    """
    for by in groups:
        records: dict[tuple[AlignedTask, str], list[GroupRecord]] = {}
        for r in by.records:
            task = AlignedTask(r.synthetic, visible(r.dataset), visible(r.protocol), r.fraction)
            records.setdefault((task, r.metric), []).append(replace(r, encoder=shown[r.encoder]))
        for table in tables:
            for column in table["columns"]:
                task = AlignedTask(table["synthetic"], column["dataset"], table["protocol"], table["fraction"])
                if of := records.get((task, table["metric"])):
                    found = _grouped(by.by, of, places, labels, spread)
                    told = [note for task, of_task in by.notes.items() if task == of[0].task for note in of_task]
                    column.setdefault("groups", []).append(found | {"notes": [visible(note) for note in told]})
    return tables


def _grouped(
    by: str, records: Sequence[GroupRecord], places: Mapping[str, int], labels: dict[str, int], spread: str
) -> dict[str, Any]:
    """One way of grouping one test set."""
    of_groups: dict[str, list[GroupRecord]] = {}
    for r in records:
        of_groups.setdefault(r.group, []).append(r)
    return {
        "by": by,
        "parts": [
            {"label": labels.setdefault(group, len(labels))} | part(of, places, spread=spread)
            for group, of in of_groups.items()
        ],
        "gaps": {
            str(places[r.encoder]): [
                visible(r.group), visible(r.best_group), thousandths(r.gap), thousandths(r.gap_lower),
                thousandths(r.gap_upper),
            ]
            for r in records
            if r.worst
        },
    }  # fmt: skip
