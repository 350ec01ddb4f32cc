"""The calibration report as Markdown, CSV and JSON. The same report gives the same bytes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from cxrbench.leaderboard.board import HEADLINE
from cxrbench.leaderboard.calibration.report import TESTED, CalibrationRecord, CalibrationReport
from cxrbench.leaderboard.display import key_to_names, shown_names
from cxrbench.leaderboard.render import (
    ABSENT,
    SYNTHETIC,
    code,
    dump_csv,
    dump_json,
    escaped,
    markdown_table,
    remark,
    task_title,
)
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.statistics.significance import ALPHA
from cxrbench.metrics.calibration import CALIBRATION, MASS_BINS

SCORES = ("brier", "brier_skill", "nll", "ece_mass")
PARTS = ("brier", "reliability", "resolution", "uncertainty", "within_bins")
SIGNS = {"reliability": "= ", "resolution": "− ", "uncertainty": "+ ", "within_bins": "+ "}
Means = dict[tuple[AlignedTask, str, str], dict[str, CalibrationRecord]]
"""By task, encoder and method: the means, by metric."""


def to_markdown(report: CalibrationReport, names: Mapping[str, str] | None = None) -> str:
    """Real results first, synthetic ones in a section of their own under a line that says so.

    ``names``: as of the leaderboard.
    """
    shown = shown_names(list(dict.fromkeys(r.encoder for r in report.records)), names or {})
    report = replace(report, records=tuple(replace(r, encoder=shown[r.encoder]) for r in report.records))
    parts = ["# Calibration"]
    for synthetic in (False, True):
        records = [r for r in report.records if r.synthetic == synthetic]
        if records:
            parts += _section(report, records, synthetic)
    if key := key_to_names(shown):
        parts += ["## Encoders", key]
    return "\n\n".join(parts) + "\n"


def to_csv(report: CalibrationReport) -> str:
    """One row per encoder, task, method, metric and label; floats to six decimals, empty where undefined."""
    return dump_csv(CalibrationRecord, report.records)


def to_json(report: CalibrationReport) -> str:
    """The report whole. NaN is null."""
    return dump_json(
        {
            "replicates": report.replicates,
            "seed": report.seed,
            "tasks": [{**task._asdict(), "notes": list(notes)} for task, notes in report.notes.items()],
            "records": [asdict(record) for record in report.records],
        }
    )


def _section(report: CalibrationReport, records: Sequence[CalibrationRecord], synthetic: bool) -> list[str]:
    rows: Means = {}
    temperatures: dict[tuple[AlignedTask, str, str], list[float]] = {}
    for r in records:
        key = (r.task, r.encoder, r.method)
        if r.label == HEADLINE:
            rows.setdefault(key, {})[r.metric] = r
        elif not math.isnan(r.temperature):
            temperatures.setdefault(key, []).append(r.temperature)
    scores = [
        [*_who(key), *(_cell(of[name]) for name in SCORES), _range(temperatures.get(key, []))]
        for key, of in rows.items()
    ]
    parts = [[*_who(key), *(_cell(of[name]) for name in PARTS)] for key, of in rows.items()]
    arrows = [f"{CALIBRATION[m].title} {'↑' if CALIBRATION[m].higher_is_better else '↓'}" for m in SCORES]
    who = ["Task", "Encoder", "Scores"]
    notes = [
        f"- {escaped(task_title(task))}: {remark(note)}."
        for task, of_task in report.notes.items()
        if task.synthetic == synthetic
        for note in of_task
    ]
    tested = [sum(r.metric == m and not math.isnan(r.p) for of in rows.values() for r in of.values()) for m in TESTED]
    return [
        *(["## Results on synthetic data", SYNTHETIC] if synthetic else ["## Results"]),
        "### Before and after recalibration, mean over labels",
        markdown_table(scores, [*who, *arrows, "Temperature"]),
        _legend(report, tested),
        "### Where the Brier score comes from, mean over labels",
        markdown_table(parts, [*who, *(SIGNS.get(m, "") + CALIBRATION[m].title for m in PARTS)]),
        "Reliability: how far the shares of positives lie from what was said, squared (less is better). Resolution: "
        "how far they lie from the prevalence (more is better). Uncertainty: p (1 − p) of the prevalence; no forecast "
        "changes it. Within bins: what scores still tell apart inside a bin; with it the sum of the values before the "
        "→ is exact (Stephenson et al. 2008).",
        "### Notes",
        "\n".join(notes) or "None.",
    ]


def _legend(report: CalibrationReport, tests: Sequence[int]) -> str:
    """``tests``: how many means are tested, by metric."""
    counts = " and ".join(f"{count} of the {CALIBRATION[m].title}" for m, count in zip(TESTED, tests, strict=True))
    lines = [
        f"Cells: value [95% interval]. Patients were resampled, {report.replicates:,} times, alike for all; intervals "
        "are Student's t on that standard error, of the Brier score on the logit scale, and cover training seeds where "
        "several were run. With one seed they are conditional on what it trained, and always on the recalibration that "
        "was fitted.",
        "Recalibration is fitted on the validation images of the saved predictions and judged on the test images. "
        "Temperature: one number per label (exclusive classes: one for all); above 1 the scores were too sure of "
        "themselves. Isotonic: a rising step function per label.",
        f"`*`: better than as given, p < {ALPHA:g}, one-tailed, paired. Policy: among the means of a metric a false "
        f"`*` has a probability of at most 5% (Holm). Tests made: {counts}. ECE is not tested: it rewards ties.",
        "Brier skill: 1 − Brier score / uncertainty; 0 is no better than always saying the test prevalence.",
        f"ECE, reliability and resolution: {MASS_BINS} bins of equal mass, edges fixed on the test set. Shares of "
        "positives are noisy, so that values are too large on average. Behind the → stands what is left without that "
        "bias, 2 × value − mean over the resamples, with its interval (basic bootstrap). Of scores that are nearly "
        "right less than the bias is taken away: of perfectly calibrated ones the ECE's interval lies above 0 more "
        "often than not.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _who(key: tuple[AlignedTask, str, str]) -> list[str]:
    task, encoder, method = key
    return [escaped(task_title(task)), code(encoder), method]


def _cell(r: CalibrationRecord) -> str:
    """A value with its interval and mark; where a metric is biased, the interval stands behind what is left of it."""
    if math.isnan(r.value):
        return ABSENT
    unbiased = "" if math.isnan(r.unbiased) or math.isnan(r.lower) else f" → {_number(r.unbiased)}"
    limits = "" if math.isnan(r.lower) else f" [{_number(r.lower)}, {_number(r.upper)}]"
    return _number(r.value) + unbiased + limits + (" \\*" if r.p_holm < ALPHA else "")


def _number(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # Adding 0 turns -0 into 0.


def _range(temperatures: Sequence[float]) -> str:
    """The temperatures of the labels: one number, or from the least to the greatest."""
    if not temperatures:
        return ""
    ends = dict.fromkeys(f"{t:.2f}" for t in (min(temperatures), max(temperatures)))
    return "–".join(ends)
