"""Encoders within groups as Markdown, CSV and JSON. The same results give the same bytes."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace

from cxrbench.leaderboard.cells import cell, ranks
from cxrbench.leaderboard.display import key_to_names, shown_names
from cxrbench.leaderboard.render import (
    ABSENT,
    SYNTHETIC,
    code,
    dump_csv,
    dump_json,
    escaped,
    markdown_table,
    number,
    remark,
    task_title,
)
from cxrbench.leaderboard.statistics.significance import ALPHA
from cxrbench.leaderboard.subgroups.evaluate import ByGroup, GroupRecord
from cxrbench.metrics.kinds import KINDS
from cxrbench.metrics.measure import Measure


def to_csv(found: ByGroup) -> str:
    """One row per encoder, dataset, protocol, fraction, metric and group."""
    return dump_csv(GroupRecord, found.records)


def to_json(found: ByGroup) -> str:
    """All of it; NaN is null."""
    return dump_json({
        "by": found.by, "baseline": found.baseline, "replicates": found.replicates, "seed": found.seed,
        "tasks": [{**task._asdict(), "notes": list(notes)} for task, notes in found.notes.items()],
        "records": [asdict(record) for record in found.records],
    })  # fmt: skip


def to_markdown(found: ByGroup, names: Mapping[str, str]) -> str:
    """A table per task and metric: encoders by groups, the worst group, and how far the best one lies above it."""
    shown = shown_names(sorted({r.encoder for r in found.records}), names)
    records = [replace(r, encoder=shown[r.encoder], baseline=shown.get(r.baseline, "")) for r in found.records]
    parts = [f"# By {escaped(found.by)}"]
    for synthetic in (False, True):
        of = [r for r in records if r.synthetic == synthetic]
        parts += [SYNTHETIC] if synthetic and of else []
        for task, metric in dict.fromkeys((r.task, r.metric) for r in of):
            here = [r for r in of if (r.task, r.metric) == (task, metric)]
            parts += [f"## {escaped(task_title(task))}: {measure_called(metric).title}", _table(here)]
    parts.append(_legend(found, shown.get(found.baseline or "", "")))
    notes = [f"- {escaped(task_title(task))}: {remark(note)}." for task, of in found.notes.items() for note in of]
    parts += ["\n".join(notes)] if notes else []
    parts += [key] if (key := key_to_names(shown)) else []
    return "\n\n".join(parts) + "\n"


def measure_called(name: str) -> Measure:
    """Of the kinds that can be asked by group, whose metrics have names of their own."""
    return {**KINDS["regression"].measures, **KINDS["multilabel"].measures}[name]


def _table(records: list[GroupRecord]) -> str:
    groups = list(dict.fromkeys(r.group for r in records))
    measure = measure_called(records[0].metric)
    by = {(r.encoder, r.group): r for r in records}
    encoders = list(dict.fromkeys(r.encoder for r in records))
    places = {g: ranks({e: by[e, g].value for e in encoders if (e, g) in by}, measure) for g in groups}
    body = []
    for e in encoders:
        cells = [cell(by[e, g], places[g].get(e), "interval") if (e, g) in by else ABSENT for g in groups]
        worst = next((r for r in records if r.encoder == e and r.worst), None)
        ends = [escaped(worst.group), _gap(worst)] if worst else [ABSENT, ABSENT]
        body.append([code(e), *cells, *ends])
    first = {g: next(r for r in records if r.group == g) for g in groups}
    body.append(["*test images (patients)*", *(f"*{r.n:,} ({r.patients:,})*" for r in first.values()), "", ""])
    return markdown_table(body, ["Encoder", *map(escaped, groups), "Worst", "Gap to the best [95% interval]"])


def _gap(r: GroupRecord) -> str:
    limits = "" if math.isnan(r.gap_lower) else f" [{r.gap_lower:+.3f}, {r.gap_upper:+.3f}]"
    return number(r.gap) + limits


def _legend(found: ByGroup, baseline: str) -> str:
    tests = sum(not math.isnan(r.p) for r in found.records)
    lines = [
        f"Cells: value [95% interval], mean over labels. Patients were resampled, {found.replicates:,} times, alike "
        "for all encoders and groups; intervals are Student's t on that standard error, on the logit scale for values "
        "between 0 and 1, and cover training seeds where several were run. With one seed they are conditional on what "
        "it trained. **Best**, <u>second</u>.",
        "Gap: of the encoder's worst group to its best, on the same resamples. With more than two groups these two "
        "were picked for lying far apart, so their gap is larger than it would be in other patients. "
        "Gaps are not tested.",
    ]
    if baseline:
        lines.insert(
            1,
            f"`*`: better than {code(baseline)} within the group, p < {ALPHA:g}, one-tailed, paired. Policy: over all "
            "groups, encoders and datasets of a metric, protocol and label fraction a false `*` has a probability of "
            f"at most 5% (Holm). Tests made: {tests}.",
        )
    return "\n".join(f"- {line}" for line in lines)
