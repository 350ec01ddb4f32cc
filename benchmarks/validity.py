"""Do the leaderboard's marks and intervals hold what they say? Type-I error, coverage and power where truth is known.

Run: python benchmarks/validity.py    (two hours of one core; writes benchmarks/results/validity.md, and the counts of
every finished round to .json beside it: a run that was stopped goes on there). ``--quick``: a few tables of each
setting; ``--table``: no new ones.
"""

import argparse
import json
import math
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from made_up_tables import WORLDS, Design, names, one_column, truth
from report import write_report

from cxrbench.files.atomic import atomic_path
from cxrbench.leaderboard.records import in_families
from cxrbench.leaderboard.statistics.inference import moderated
from cxrbench.leaderboard.statistics.measured import Measured, measured
from cxrbench.leaderboard.statistics.significance import ALPHA
from cxrbench.metrics.kinds import KINDS

Kept = dict[str, Any]
REPLICATES, PILOT, QUICK = 250, 40, 8
ROUNDS = (40, 160, 200)  # tables; every setting has a first round before any has a second
EFFECT = 3.0  # the gain that power is of, in standard errors of a paired difference from patients
KEEP = Path(__file__).with_name("results") / "validity.json"
QUANTITIES = {
    "family": "False `*` per table", "test": "False per test, p < .05", "letters": "False letters per table",
    "value": "95% interval of a value", "gain": "95% of a gain", "gain90": "90% of a gain",
    "power": "Power: p < .05", "star": "Power: `*`", "tested": "Tests made",
}  # fmt: skip


HEADS = [
    "Metric", "Images", "Positive", "Per patient", "Seeds", "Encoders x columns", "Tables", "Gain to find",
    *QUANTITIES.values(),
]  # fmt: skip
NOTE = f"""
Each line: made-up tables of encoders that are equally good, one of them the baseline, and one that is better, which
only power and the intervals of gains include. Shares with their Monte-Carlo standard errors over whole tables, whose
cells are not independent. All of it through the leaderboard's own functions, with {REPLICATES} replicates. The truth
is a closed form or a quadrature (`benchmarks/made_up_tables.py`). "Positive": of the images; three images of one
patient have one target and share a third of what their scores vary by.

What must hold: a false `*` in at most 5 ± 2% of tables, 95% intervals that hold the truth in 93 to 97%, 90% ones to
match the one-tailed tests at 5%. "SD r SE": one seed's paired difference has an SD of r times its standard error from
patients; the hypothesis is about seeds at large. A dash: nothing was tested (fewer than 5 patients with the finding:
no interval, fewer than 10: no test). The gain to find is {EFFECT:g} standard errors of a difference from patients,
less where the metric runs out of room.
"""

FINDINGS = """
What does not hold, or only just:

* **One seed where seeds matter** (1, SD 1 SE): false marks and letters far above 5%, intervals of about 80%. This is of
  the *method*; the legend says that one seed is "conditional on what it trained". Run two or three.
* **mAP**: COCO's interpolated precision is a running maximum, too high on small test sets (by
  .018 of .430 in 300 images, a third of the standard error; seen in 150 test sets), so that intervals of values hold
  the truth of an endless test set in 91 to 94%, with a thousand images, too. The bootstrap's standard errors were .049
  for an SD of .051, of gains .054 for .057: letters are given a little too freely. AUPRC of 20 to 100 positives is near
  it (92 to 93%).
* **Five folds of 60 images**: intervals of AUROCs are too wide (98%; of 200 images 97%). Probably because resampling
  few images counts the chance of single pairs more than once; not looked into further.
* **6 to 9 patients with the finding**: intervals of values (shown, flagged, never tested) hold the truth in 98%.
"""


def designs() -> list[Design]:
    """All settings, those that the claims rest on first."""
    others = [metric for metric in WORLDS if metric != "auroc"]
    found = [Design("auroc", seeds=3, spread=r) for r in (1.0, 3.0, 0.0)]
    found += [Design("auroc", n=n, prevalence=p) for n in (300, 100, 1_000) for p in (0.5, 0.1, 0.02)]
    found += [Design(metric) for metric in others]
    found += [Design("auroc", seeds=2, spread=r) for r in (1.0, 3.0, 0.0)]
    found += [Design("auroc", images=3, prevalence=p) for p in (0.5, 0.1)]
    found += [Design(metric, folds=5) for metric in ("auroc", "auprc")] + [Design("auroc", spread=1.0)]
    found += [Design(metric, prevalence=0.1) for metric in others if metric != "recall@1"]
    found += [Design("auroc", seeds=3, spread=r, columns=13, encoders=6) for r in (2.0, 4.0)]
    found += [Design(metric, seeds=3, spread=1.0) for metric in others]
    found += [Design("auroc", seeds=5, spread=r) for r in (1.0, 3.0, 0.0)]
    found += [Design(metric, images=3) for metric in others]
    rest = [Design(m, n=n, prevalence=p) for n in (100, 300, 1_000) for p in (0.02, 0.1, 0.5) for m in others]
    found += [one for one in rest if one.metric != "recall@1" or one.prevalence == 0.5]
    found += [Design(m, seeds=s, spread=r) for s in (3, 5) for r in (0.0, 1.0, 3.0) for m in others]
    found += [Design("auroc", n=1_000, images=3, prevalence=0.1), Design("auroc", n=1_000, folds=5, prevalence=0.1)]
    return list(dict.fromkeys(found))


def drawn(design: Design, rng: np.random.Generator, gain: float, tau: float) -> list[Measured]:
    """The columns of one table, through the leaderboard's own functions."""
    measure = KINDS[WORLDS[design.metric].kind].measures[design.metric]
    tables = [one_column(design, rng, column, gain, tau) for column in range(design.columns)]
    return [found for one in tables for found in measured(one, [measure], "baseline", REPLICATES, 0)]


def scale(design: Design, rng: np.random.Generator) -> tuple[float, float]:
    """The better one's skill, and the SD of skill over seeds: both follow from the standard error of a difference."""
    still = replace(design, spread=0.0, seeds=1, columns=1)
    gains = [
        one.headlines[e].value - one.headlines["baseline"].value
        for _ in range(PILOT) for one in drawn(still, rng, 0.0, 0.0) for e in names(design)[1:]
    ]  # fmt: skip
    error = float(np.sqrt(np.nanmean(np.square(gains))))
    slope = abs(truth(design, 0.02) - truth(design, -0.02)) / 0.04
    return EFFECT * error / slope, design.spread * error / slope


def without_the_better(one: Measured) -> Measured:
    """The same column, had the encoder that is better not been there."""
    keep = {e for e in one.headlines if e != "better"}
    return replace(
        one, values={k: v for k, v in one.values.items() if k[0] in keep},
        gains={k: v for k, v in one.gains.items() if k[0] in keep},
        pairs={k: v for k, v in one.pairs.items() if {*k} <= keep},
        headlines={e: v for e, v in one.headlines.items() if e in keep},
    )  # fmt: skip


def trial(design: Design, rng: np.random.Generator, gain: float, tau: float) -> dict[str, tuple[int, int]]:
    """Of one table: how often what is counted happened, and how often it could have."""
    columns = drawn(design, rng, gain, tau)
    equal = [without_the_better(one) for one in columns]
    null, whole = in_families(equal, "baseline", {}), in_families(columns, "baseline", {})
    right, better = truth(design, 0.0, tau), truth(design, gain, tau)
    sign = columns[0].measure.sign
    heads = [[r for r in null[id(one)].records if r.label == "macro"] for one in equal]
    tests = [r for of in heads for r in of if not math.isnan(r.p)]
    best = [r for one in columns for r in whole[id(one)].records if (r.encoder, r.label) == ("better", "macro")]
    best = [r for r in best if not math.isnan(r.p)]
    values = [r for of in heads for r in of if not math.isnan(r.lower)]
    gains = moderated([c for one in columns for k, c in one.gains.items() if k[1] == "macro"])
    true = [sign * (better - right) if e == "better" else 0.0 for one in columns for e, x in one.gains if x == "macro"]
    known = [(g, t) for g, t in zip(gains, true, strict=True) if not math.isnan(g.patients)]
    lettered = [[{*r.tie_group} for r in of if r.tie_group] for of in heads]
    apart = any(not a & b for of in lettered for a in of for b in of)
    return {
        "family": (any(r.p_holm < ALPHA for r in tests), bool(tests)),
        "test": (sum(r.p < ALPHA for r in tests), len(tests)),
        "letters": (apart, any(lettered)),
        "value": (sum(r.lower <= right <= r.upper for r in values), len(values)),
        "gain": (sum(abs(g.value - t) <= g.half_width(0.025) for g, t in known), len(known)),
        "gain90": (sum(abs(g.value - t) <= g.half_width(ALPHA) for g, t in known), len(known)),
        "power": (sum(r.p < ALPHA for r in best), len(best)),
        "star": (sum(r.p_holm < ALPHA for r in best), len(best)),
        "tested": (len(tests), design.columns * (design.encoders - 1)),
    }


def more(design: Design, kept: Kept, tables: int) -> Kept:
    """``kept`` and a round more.

    Of what happened (h) and could have (c) in each table, the sums of h, c, h h, h c and c c.
    """
    done = int(kept.get("rounds", 0))
    rng = np.random.default_rng([done, *json.dumps(asdict(design)).encode()])
    gain, tau = kept["scale"] if kept else scale(design, rng)
    counts = [trial(design, rng, gain, tau) for _ in range(tables)]
    sums: dict[str, list[int]] = dict(kept.get("sums", {}))
    for name in QUANTITIES:
        h, c = np.array([one[name] for one in counts], dtype=np.int64).T
        new = [h.sum(), c.sum(), h @ h, h @ c, c @ c]
        sums[name] = [int(x + y) for x, y in zip(new, sums.get(name, [0] * 5), strict=True)]
    return {"scale": [gain, tau], "rounds": done + 1, "tables": int(kept.get("tables", 0)) + tables, "sums": sums}


def share(h: int, c: int, hh: int, hc: int, cc: int) -> str:
    """h / c with its Monte-Carlo error, that of a ratio of sums over independent tables."""
    if c == 0:
        return "–"
    ratio = h / c
    return f"{ratio:.1%} ± {math.sqrt(max(0.0, hh - 2 * ratio * hc + ratio**2 * cc)) / c:.1%}"


def table(found: dict[str, Kept]) -> None:
    """What is finished, as Markdown."""
    rows: list[list[str]] = []
    together: list[Kept] = []
    for design in designs():
        if kept := found.get(json.dumps(asdict(design))):
            seeds = f"{design.seeds}" + (f", SD {design.spread:g} SE" if design.seeds > 1 or design.spread else "")
            what = [design.metric, f"{design.n:,}", f"{design.prevalence:.0%}", str(design.images), seeds]
            shape = f"{design.encoders} x {design.columns}" + (", 5 folds" if design.folds > 1 else "")
            gain, tau = kept["scale"]
            sought = f"{abs(truth(design, gain, tau) - truth(design, 0.0, tau)):.3f}"
            cells = [share(*kept["sums"][name]) for name in QUANTITIES]
            rows.append([*what, shape, str(kept["tables"]), sought, *cells])
            together += [kept] if design.seeds > 1 or not design.spread else []
    sums = [share(*np.sum([kept["sums"][name] for kept in together], axis=0).tolist()) for name in QUANTITIES]
    rows.append(
        ["all, less one seed with an SD", *["–"] * 5, f"{sum(kept['tables'] for kept in together):,}", "–", *sums]
    )
    left = len(designs()) * sum(ROUNDS) - sum(kept["tables"] for kept in found.values())
    write_report(
        "validity",
        "What the marks and intervals of the leaderboard hold",
        HEADS,
        rows,
        f"{NOTE.strip()}\n\n{FINDINGS.strip()}\n\n{len(found)} of {len(designs())} settings are begun; {left:,} tables "
        f"of {len(designs()) * sum(ROUNDS):,} are left, and the command goes on with them.",
    )


def main() -> None:
    """Finish what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} tables of each setting, kept nowhere")
    parser.add_argument("--table", action="store_true", help="only write the table of what is finished")
    parser.add_argument("--keep", type=Path, default=KEEP, help="where the counts are kept")
    args = parser.parse_args()
    found: dict[str, Kept] = json.loads(args.keep.read_text()) if args.keep.exists() and not args.quick else {}
    rounds = (QUICK,) if args.quick else ROUNDS
    for (done, tables), design in () if args.table else product(enumerate(rounds), designs()):
        key = json.dumps(asdict(design))
        if found.get(key, {}).get("rounds", 0) > done:
            continue
        found[key] = more(design, found.get(key, {}), tables)
        print(design, {name: share(*sums) for name, sums in found[key]["sums"].items()}, flush=True)
        if not args.quick:
            with atomic_path(args.keep) as path:
                path.write_text(json.dumps(found, indent=1) + "\n")
    if not args.quick:
        table(found)


if __name__ == "__main__":
    main()
