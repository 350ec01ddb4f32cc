"""Every checkpoint beside its untrained backbone on the phantom: probes at three label fractions, and directions."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench import api
from evidence.embeddings import Directions, directions, embedded
from evidence.marked import number, probability, table
from evidence.probing import probe
from evidence.recipes import SHIPPED
from evidence.training import CACHE, facts_of

DATASETS = ("vindr", "rsna", "siim")
FRACTIONS = (0.01, 0.1, 1.0)
PROBE_SEEDS = 3
"""Of the patients that a fraction keeps; at fraction 1 all are one."""


@dataclass(frozen=True)
class Row:
    """A method, where it is read (after the colon), and the untrained backbone that it stands beside."""

    method: str
    at: str
    baseline: str

    @property
    def name(self) -> str:
        """As the tables have it."""
        return f"{self.method}{self.at}"

    def spec(self, seed: int) -> str:
        """The encoder, in the scratch folder."""
        return f"{self.name}@{SHIPPED[self.method].weights(seed)}"

    def untrained(self, seed: int) -> str:
        """The baseline with the weights of the same seed."""
        return f"{self.baseline}@{seed}" if seed else self.baseline


ROWS = (
    Row("pacx", "", "random:cls"),
    Row("mae", "", "random:cls"),
    Row("fane", "", "random:cls"),
    Row("spcl", "", "random"),
    Row("supervised", "", "random"),
    Row("mvmae", ":mean", "random"),
    Row("mvmae-v2t", ":mean", "random"),
    Row("mae", ":mean", "random"),
    Row("mvmae", "", "random:mvmae"),
    Row("mvmae-v2t", "", "random:mvmae"),
    Row("radjepa", "", "random:radjepa"),
)
"""In the order of the tables: those of one baseline together."""
READ_AT = {"random:cls": "CLS", "random": "mean", "random:mvmae": "CLS", "random:radjepa": "mean"}
TOP = "imagenet"
RANK = "effective rank"
LEVEL = 0.05
TABLES = ("all labels", "label fractions", "pretraining seeds")
P = f"p ({', '.join(DATASETS)})"


@dataclass(frozen=True)
class Beside:
    """An encoder's AUROC on a data set at a label fraction, its untrained backbone's, and one-tailed p."""

    value: float
    untrained: float
    p: float

    @property
    def gain(self) -> float:
        """What training was worth."""
        return self.value - self.untrained


Tests = Mapping[tuple[str, float], Beside]
"""By data set and fraction."""


@dataclass(frozen=True)
class Measured:
    """``tests`` and ``directions`` by spec; baselines have directions alone."""

    tests: Mapping[str, Tests]
    directions: Mapping[str, Directions]
    rows: tuple[Row, ...]


def seeds_of(row: Row, ready: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Which seeds of a row's method are finished."""
    return ready.get(row.method, ())


def measure(data: Path | None, results: Path, ready: Mapping[str, Sequence[int]]) -> Measured:
    """Probe and test what is ``ready`` (seeds by method) on the phantom in ``data`` (None: that of seed 0)."""
    rows = tuple(row for row in ROWS if seeds_of(row, ready))
    pairs = [(row.spec(seed), row.untrained(seed)) for row in rows for seed in seeds_of(row, ready)]
    specs = list(dict.fromkeys([spec for pair in pairs for spec in pair]))
    tasks = [f"{name}:classification" for name in DATASETS]
    probe([*specs, TOP], tasks, data=data, results=results, cache=CACHE, fractions=FRACTIONS, seeds=PROBE_SEEDS)
    paths = [path for name in DATASETS for path in test_images(name, data)]
    used: dict[str, Directions] = {}
    for spec in specs:
        print(f"directions of {spec}", file=sys.stderr)
        used[spec] = directions(embedded(spec, paths))
    tests = {spec: compared(spec, baseline, results) for spec, baseline in [*pairs, (TOP, "random")]}
    return Measured(tests, used, rows)


def test_images(name: str, data: Path | None) -> list[Path]:
    """The test images of a data set."""
    manifest = api.load_dataset(name, data=data, cache=CACHE)
    paths = manifest.paths()
    return [paths[row] for row in manifest.rows_of("test")]


def compared(spec: str, baseline: str, results: Path) -> Tests:
    """An encoder against its baseline on everything that both have results for: means over labels."""
    text = api.compare(spec, baseline, results=results, metrics="auroc").to_json()
    return {
        (row["dataset"], row["fraction"]): Beside(*(_known(row[name]) for name in ("value_a", "value_b", "p")))
        for row in json.loads(text)["rows"]
        if row["label"] == "macro"
    }


def _known(value: Any) -> float:
    return np.nan if value is None else float(value)


def tables(measured: Measured, ready: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """The tables of docs/pretraining-on-the-phantom.md by name."""
    several = tuple(row for row in measured.rows if len(seeds_of(row, ready)) > 1)
    made = (_whole(measured), _fractions(measured), _seeds(measured, several, ready))
    return dict(zip(TABLES, made, strict=True))


def _whole(measured: Measured) -> str:
    """All labels, seed 0: AUROC, p, directions."""
    lines = []
    for baseline, rows in _by_baseline(measured.rows):
        for row in rows:
            tests = measured.tests[row.spec(0)]
            lines.append([
                f"`{row.name}`", READ_AT[baseline], *_values([tests[name, 1.0].value for name in DATASETS]),
                ", ".join(probability(tests[name, 1.0].p) for name in DATASETS), *_of(measured.directions[row.spec(0)]),
                trained_on(row),
            ])  # fmt: skip
        tests = measured.tests[rows[0].spec(0)]
        untrained = _values([tests[name, 1.0].untrained for name in DATASETS])
        lines.append([f"*`{baseline}`*", READ_AT[baseline], *untrained, "", *_of(measured.directions[baseline]), "-"])
    lines.append([f"`{TOP}`", "", *_values([measured.tests[TOP][name, 1.0].value for name in DATASETS]), *[""] * 4])
    headers = ["Encoder", "read at", *DATASETS, "mean", P, RANK, "first component", "units x epochs, batch"]
    return table(headers, lines)


def _fractions(measured: Measured) -> str:
    """Mean of the data sets at each label fraction, seed 0, with the p of each data set."""
    lines = []
    for baseline, rows in _by_baseline(measured.rows):
        for row in rows:
            tests, cells = measured.tests[row.spec(0)], []
            for fraction in FRACTIONS:
                at = [tests[name, fraction] for name in DATASETS]
                cells.append(number(float(np.mean([test.value for test in at]))))
                cells.append(", ".join(probability(test.p) for test in at))
            lines.append([f"`{row.name}`", *cells])
        tests = measured.tests[rows[0].spec(0)]
        means = [float(np.mean([tests[name, f].untrained for name in DATASETS])) for f in FRACTIONS]
        lines.append([f"*`{baseline}`*", *(cell for mean in means for cell in (number(mean), ""))])
    top = [float(np.mean([measured.tests[TOP][name, f].value for name in DATASETS])) for f in FRACTIONS]
    lines.append([f"`{TOP}`", *(cell for mean in top for cell in (number(mean), ""))])
    headers = [word for fraction in FRACTIONS for word in (f"{fraction:.0%}", P)]
    return table(["Encoder", *headers], lines)


def _seeds(measured: Measured, rows: Sequence[Row], ready: Mapping[str, Sequence[int]]) -> str:
    """Each seed less its untrained backbone, mean and SD, and how many seeds are better at p < LEVEL."""
    lines = []
    for row in rows:
        for fraction in FRACTIONS:
            of_seeds = [measured.tests[row.spec(seed)] for seed in seeds_of(row, ready)]
            gains = np.array([[tests[name, fraction].gain for name in DATASETS] for tests in of_seeds])
            gains = np.column_stack([gains, gains.mean(1)])
            said = [
                f"{', '.join(number(gain, sign=True) for gain in column)}: "
                f"{number(column.mean(), sign=True)} ± {number(column.std(ddof=1))}"
                for column in gains.T
            ]
            for column, name in enumerate(DATASETS):
                said[column] += f" ({sum(tests[name, fraction].p < LEVEL for tests in of_seeds)} of {len(of_seeds)})"
            ranks = ", ".join(_of(measured.directions[row.spec(seed)])[0] for seed in seeds_of(row, ready))
            lines.append([f"`{row.name}`", f"{fraction:.0%}", *said, ranks])
    return table(["Encoder", "labels", *DATASETS, "mean", RANK], lines)


def trained_on(row: Row) -> str:
    """Units, epochs and batch, as the checkpoint remembers them."""
    facts = facts_of(Path(SHIPPED[row.method].weights(0)), row.method)
    config, (count, word) = facts["config"], units(facts)
    after = SHIPPED[row.method].after
    return f"{count:,} {word} x {config['epochs']}, {config['batch_size']}{f', after `{after}`' if after else ''}"


def units(facts: Mapping[str, Any]) -> tuple[int, str]:
    """How many units of training there were, and what they are."""
    studies = facts.get("corpus", {}).get("studies")
    return (int(studies), "studies") if studies else (sum(facts["images"].values()), "images")


def _by_baseline(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    names = dict.fromkeys(row.baseline for row in rows)
    return [(name, [row for row in rows if row.baseline == name]) for name in names]


def _values(values: Sequence[float]) -> list[str]:
    return [*map(number, values), number(float(np.mean(values)))]


def _of(used: Directions) -> list[str]:
    return [number(used.rank, 1), "–" if np.isnan(used.first) else f"{used.first:.0%}"]
