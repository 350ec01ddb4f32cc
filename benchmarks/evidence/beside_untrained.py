"""Every checkpoint beside its untrained backbone on the phantom: probes at three label fractions, and directions."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        """As the tables have it, and as the encoder is called whose weights are shipped."""
        return f"{self.method}{self.at}"

    def key(self, seed: int) -> str:
        """What a measurement is kept by."""
        return f"{self.name} seed {seed}"

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
TWO = 2  # seeds, without which there is no spread between them
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


Tests = Mapping[str, Mapping[float, Beside]]
"""By data set and fraction."""


@dataclass(frozen=True)
class Measured:
    """What was found of encoders: by ``Row.key``, and ``TOP``. Of a baseline, by its spec, directions alone.

    ``recipes``: the command that made what was measured, by key: what another recipe made is not shown beside it.
    """

    tests: Mapping[str, Tests] = field(default_factory=dict)
    directions: Mapping[str, Directions] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)

    def seeds(self, row: Row) -> list[int]:
        """Which seeds of a row were measured."""
        return [seed for seed in range(SHIPPED[row.method].seeds) if row.key(seed) in self.tests]

    def and_newer(self, other: "Measured") -> "Measured":
        """This and the other, whose figures stand where both have some."""
        mine, its = vars(self), vars(other)
        return Measured(**{name: {**mine[name], **its[name]} for name in mine})

    def of_todays_recipes(self) -> "Measured":
        """Without what another recipe made."""
        now = {row.key(seed): SHIPPED[row.method].command(seed) for row in ROWS for seed in range(_seeds_of(row))}
        kept = {key for key in self.tests if key == TOP or self.recipes.get(key) == now.get(key, "")}
        tests = {key: tests for key, tests in self.tests.items() if key in kept}
        recipes = {key: text for key, text in self.recipes.items() if key in kept}
        return Measured(tests, self.directions, recipes)

    def to_json(self) -> str:
        """For the file that keeps it."""
        tests = {
            key: {name: {f"{fraction:g}": vars(one) for fraction, one in at.items()} for name, at in of_key.items()}
            for key, of_key in self.tests.items()
        }
        used = {key: one._asdict() for key, one in self.directions.items()}
        return json.dumps({"tests": tests, "directions": used, "recipes": dict(self.recipes)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Measured":
        """What ``to_json`` wrote."""
        found = json.loads(text)
        tests = {
            key: {name: {float(f): Beside(**one) for f, one in at.items()} for name, at in of_key.items()}
            for key, of_key in found["tests"].items()
        }
        return cls(tests, {key: Directions(**one) for key, one in found["directions"].items()}, found["recipes"])


def _seeds_of(row: Row) -> int:
    return SHIPPED[row.method].seeds


def in_scratch(ready: Mapping[str, Sequence[int]]) -> dict[tuple[Row, int], str]:
    """Every row of the methods and seeds that are finished, and the encoder in the scratch folder."""
    return {(row, seed): row.spec(seed) for row in ROWS for seed in ready.get(row.method, ())}


def shipped(methods: Sequence[str]) -> dict[tuple[Row, int], str]:
    """Every row of these methods as they ship, seed 0."""
    return {(row, 0): row.name for row in ROWS if row.method in methods}


def measure(data: Path | None, results: Path, specs: Mapping[tuple[Row, int], str]) -> Measured:
    """Probe and test these encoders on the phantom in ``data`` (None: that of seed 0)."""
    pairs = {row.key(seed): (spec, row.untrained(seed)) for (row, seed), spec in specs.items()}
    every = list(dict.fromkeys([spec for pair in pairs.values() for spec in pair]))
    tasks = [f"{name}:classification" for name in DATASETS]
    top = [TOP, "random"]
    probe([*dict.fromkeys([*every, *top])], tasks, data=data, results=results, cache=CACHE, fractions=FRACTIONS,
          seeds=PROBE_SEEDS)  # fmt: skip
    paths = [path for name in DATASETS for path in test_images(name, data)]
    used: dict[str, Directions] = {}
    for key, spec in {**{key: spec for key, (spec, _) in pairs.items()}, **{b: b for _, b in pairs.values()}}.items():
        print(f"directions of {spec}", file=sys.stderr)
        used[key] = directions(embedded(spec, paths))
    tests = {key: compared(spec, baseline, results) for key, (spec, baseline) in {**pairs, TOP: (TOP, top[1])}.items()}
    return Measured(tests, used, {row.key(seed): SHIPPED[row.method].command(seed) for row, seed in specs})


def test_images(name: str, data: Path | None) -> list[Path]:
    """The test images of a data set."""
    manifest = api.load_dataset(name, data=data, cache=CACHE)
    paths = manifest.paths()
    return [paths[row] for row in manifest.rows_of("test")]


def compared(spec: str, baseline: str, results: Path) -> Tests:
    """An encoder against its baseline on everything that both have results for: means over labels."""
    text = api.compare(spec, baseline, results=results, metrics="auroc").to_json()
    found: dict[str, dict[float, Beside]] = {name: {} for name in DATASETS}
    for row in json.loads(text)["rows"]:
        if row["label"] == "macro":
            one = Beside(*(_known(row[name]) for name in ("value_a", "value_b", "p")))
            found[row["dataset"]][row["fraction"]] = one
    return found


def _known(value: Any) -> float:
    return np.nan if value is None else float(value)


def tables(measured: Measured, weights: Path) -> dict[str, str]:
    """The tables of docs/pretraining-on-the-phantom.md by name. ``weights``: the folder of the shipped checkpoints."""
    made = (_whole(measured, weights), _fractions(measured), _seeds(measured))
    return dict(zip(TABLES, made, strict=True))


def _whole(measured: Measured, weights: Path) -> str:
    """All labels, seed 0: AUROC, p, directions."""
    lines = []
    for baseline, rows in _by_baseline(measured):
        for row in rows:
            tests = measured.tests[row.key(0)]
            lines.append([
                f"`{row.name}`", READ_AT[baseline], *_values([tests[name][1.0].value for name in DATASETS]),
                ", ".join(probability(tests[name][1.0].p) for name in DATASETS), *_of(measured.directions[row.key(0)]),
                trained_on(row, weights),
            ])  # fmt: skip
        tests = measured.tests[rows[0].key(0)]
        untrained = _values([tests[name][1.0].untrained for name in DATASETS])
        lines.append([f"*`{baseline}`*", READ_AT[baseline], *untrained, "", *_of(measured.directions[baseline]), "-"])
    lines.append([f"`{TOP}`", "", *_values([measured.tests[TOP][name][1.0].value for name in DATASETS]), *[""] * 4])
    headers = ["Encoder", "read at", *DATASETS, "mean", P, RANK, "first component", "units x epochs, batch"]
    return table(headers, lines)


def _fractions(measured: Measured) -> str:
    """Mean of the data sets at each label fraction, seed 0, with the p of each data set."""
    lines = []
    for baseline, rows in _by_baseline(measured):
        for row in rows:
            tests, cells = measured.tests[row.key(0)], []
            for fraction in FRACTIONS:
                at = [tests[name][fraction] for name in DATASETS]
                cells.append(number(float(np.mean([test.value for test in at]))))
                cells.append(", ".join(probability(test.p) for test in at))
            lines.append([f"`{row.name}`", *cells])
        tests = measured.tests[rows[0].key(0)]
        means = [float(np.mean([tests[name][f].untrained for name in DATASETS])) for f in FRACTIONS]
        lines.append([f"*`{baseline}`*", *(cell for mean in means for cell in (number(mean), ""))])
    top = [float(np.mean([measured.tests[TOP][name][f].value for name in DATASETS])) for f in FRACTIONS]
    lines.append([f"`{TOP}`", *(cell for mean in top for cell in (number(mean), ""))])
    headers = [word for fraction in FRACTIONS for word in (f"{fraction:.0%}", P)]
    return table(["Encoder", *headers], lines)


def _seeds(measured: Measured) -> str:
    """Each seed less its untrained backbone, mean and SD, and how many seeds are better at p < LEVEL."""
    lines = []
    for row in ROWS:
        if len(seeds := measured.seeds(row)) < TWO:
            continue
        of_seeds = [measured.tests[row.key(seed)] for seed in seeds]
        for fraction in FRACTIONS:
            gains = np.array([[tests[name][fraction].gain for name in DATASETS] for tests in of_seeds])
            gains = np.column_stack([gains, gains.mean(1)])
            said = [
                f"{', '.join(number(gain, sign=True) for gain in column)}: "
                f"{number(column.mean(), sign=True)} ± {number(column.std(ddof=1))}"
                for column in gains.T
            ]
            for column, name in enumerate(DATASETS):
                said[column] += f" ({sum(tests[name][fraction].p < LEVEL for tests in of_seeds)} of {len(of_seeds)})"
            ranks = ", ".join(_of(measured.directions[row.key(seed)])[0] for seed in seeds)
            lines.append([f"`{row.name}`", f"{fraction:.0%}", *said, ranks])
    if not lines:
        return "Not measured yet."
    return table(["Encoder", "labels", *DATASETS, "mean", RANK], lines)


def trained_on(row: Row, weights: Path) -> str:
    """Units, epochs and batch, as the shipped checkpoint remembers them."""
    facts = facts_of(weights / f"{row.method}_phantom.safetensors", row.method)
    config, (count, word) = facts["config"], units(facts)
    after = SHIPPED[row.method].after
    return f"{count:,} {word} x {config['epochs']}, {config['batch_size']}{f', after `{after}`' if after else ''}"


def units(facts: Mapping[str, Any]) -> tuple[int, str]:
    """How many units of training there were, and what they are."""
    studies = facts.get("corpus", {}).get("studies")
    return (int(studies), "studies") if studies else (sum(facts["images"].values()), "images")


def _by_baseline(measured: Measured) -> list[tuple[str, list[Row]]]:
    """The rows whose seed 0 was measured."""
    rows = [row for row in ROWS if 0 in measured.seeds(row)]
    names = dict.fromkeys(row.baseline for row in rows)
    return [(name, [row for row in rows if row.baseline == name]) for name in names]


def _values(values: Sequence[float]) -> list[str]:
    return [*map(number, values), number(float(np.mean(values)))]


def _of(used: Directions) -> list[str]:
    return [number(used.rank, 1), "–" if np.isnan(used.first) else f"{used.first:.0%}"]
