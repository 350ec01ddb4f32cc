"""Each picture of a leaderboard alone, for a paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrbench.api.saved import Saved, saved_cells, saved_names
from cxrbench.api.tables import by_group, leaderboard
from cxrbench.drawing.files import Width
from cxrbench.errors import UserError, chosen
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.leaderboard.plots.named import Drawing, PictureName
    from cxrbench.predictions import Predictions


@dataclass(frozen=True)
class PlotOf:
    """A picture of a leaderboard. ``title``: what it is of; ``left_out``: what of the same kind it does not show."""

    drawing: "Drawing"
    encoders: tuple[str, ...]

    @property
    def title(self) -> str:
        """Its metric, protocol and label fraction."""
        return self.drawing.title

    @property
    def left_out(self) -> tuple[str, ...]:
        """Other tables or tasks that have such a picture."""
        return self.drawing.left_out

    def draw(self, path: Path | str, *, width: Width = "double", caption: bool = True) -> Path:
        """Write it as PNG, SVG or PDF by its name, the same bytes whenever it is drawn. Raises UserError.

        ``width``: of one column of a paper (3.3 inches) or of two (6.9). ``caption``: whether what it means stands
        below it.
        """
        from cxrbench.drawing.files import DOUBLE, SINGLE, our_style, save
        from cxrbench.drawing.palette import style
        from cxrbench.leaderboard.plots.frame import PlotLook

        chosen("--width", Width, width)
        styles = {encoder: style(number) for number, encoder in enumerate(self.encoders)}
        look = PlotLook(SINGLE if width == "single" else DOUBLE, styles, caption)
        with our_style():
            save(self.drawing.figure(look), Path(path), self.title)
        return Path(path)


def list_plots() -> "tuple[PictureName, ...]":
    """The pictures that ``plot`` knows: their names, and in a line what each shows."""
    from cxrbench.leaderboard.plots.named import PICTURES

    return PICTURES


def plot(
    what: str,
    results: Saved = "results",
    *,
    baseline: str | None = None,
    tasks: str | Sequence[str] = (),
    metrics: str | Sequence[str] = (),
    encoders: str | Sequence[str] = (),
    fraction: float | None = None,
    label: str = "",
    by: str = "",
    replicates: int = 10_000,
    seed: int = 0,
    names: str | Sequence[str] = (),
    cache: Path | str | None = None,
    bar: Bar = unseen,
) -> PlotOf:
    """One picture of a leaderboard: ``forest``, ``matrix``, ``ranks``, ... (``list_plots``), of one table.

    Of several metrics, protocols and label fractions, the first headline at the largest fraction is drawn;
    ``metrics``, ``tasks`` and ``fraction`` choose another. ``encoders``: those on it, by the names that are shown
    (tests stay those among all). ``label``: of ``roc``, ``pr`` and ``reliability``, instead of all labels together.
    ``by``: of ``groups``. The rest as of ``leaderboard``. Raises UserError::

        cxrbench.plot("forest", "results", baseline="imagenet").draw("forest.pdf", width="single")
    """
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import encoders_of, read_names, renamed, shown_names
    from cxrbench.leaderboard.plots import named

    known = {one.name: one for one in list_plots()}
    if what not in known:
        raise UserError(f"no picture {what!r}: choose from {', '.join(known)}")
    if bool(by) != (known[what].source == "groups"):
        raise UserError(
            f"{what} is of no groups of patients: leave out --by"
            if by
            else f"{what}: say --by sex, age, view, site or scanner"
        )
    if label and known[what].source != "cells":
        raise UserError(f"{what} is not of one label: leave out --label")
    if (metrics or baseline) and known[what].source == "cells":
        raise UserError(f"{what} is of scores, with no metric and no baseline: leave out --metrics and --baseline")
    if fraction is not None and what == "fractions":
        raise UserError("fractions is of all label fractions: leave out --fraction")
    shown = tuple(separate(encoders, "encoders"))
    called = read_names(separate(names, "names"))
    if known[what].source == "groups":
        return _of_groups(
            by, results, baseline=baseline, tasks=tasks, metrics=metrics, replicates=replicates, seed=seed,
            called=called, cache=cache, bar=bar, shown=shown, fraction=fraction,
        )  # fmt: skip
    if known[what].source == "cells":
        return _of_cells(
            what, results, tasks=tasks, called=called, cache=cache, shown=shown, label=label, fraction=fraction
        )
    board = leaderboard(
        results, baseline=baseline, tasks=tasks, metrics=metrics, replicates=replicates, seed=seed, names=names,
        cache=cache, bar=bar,
    ).board  # fmt: skip
    board = renamed(board, shown_names(encoders_of(board), called))
    drawing = named.of_board(what, named.shown_alone(board, shown), fraction)
    return PlotOf(drawing, tuple(encoders_of(board)))


def _of_cells(
    what: str,
    results: Saved,
    *,
    tasks: str | Sequence[str],
    called: Mapping[str, str],
    cache: Path | str | None,
    shown: Sequence[str],
    label: str,
    fraction: float | None,
) -> PlotOf:
    """A picture of single images' scores."""
    from cxrbench.leaderboard.calibration.variants import variants
    from cxrbench.leaderboard.display import shown_names
    from cxrbench.leaderboard.pictures.curves import curves
    from cxrbench.leaderboard.pictures.reliability import reliability
    from cxrbench.leaderboard.plots.named import of_curves, of_reliability
    from cxrbench.leaderboard.plots.scored import scored
    from cxrbench.leaderboard.statistics.alignment import align, by_task

    wanted = saved_names(tasks, "tasks")
    saved: list[Predictions] = saved_cells(results, wanted, cache).predictions
    names = shown_names(sorted({str(one.cell["encoder"]) for one in saved}), called)
    cells = scored(saved, wanted, names, shown)
    encoders = tuple(sorted(names.values()))
    if what == "reliability":
        diagrams = reliability(variants(cells, methods=()), by_label=bool(label))
        return PlotOf(of_reliability(diagrams, label, fraction), encoders)
    kind: Literal["roc", "pr"] = "roc" if what == "roc" else "pr"
    of_tasks = [curves(align(task, of), kind, labels=None if label else ()) for task, of in by_task(cells).items()]
    return PlotOf(of_curves([one for one in of_tasks if one], label, fraction), encoders)


def _of_groups(
    by: str,
    results: Saved,
    *,
    baseline: str | None,
    tasks: str | Sequence[str],
    metrics: str | Sequence[str],
    replicates: int,
    seed: int,
    called: Mapping[str, str],
    cache: Path | str | None,
    bar: Bar,
    shown: Sequence[str],
    fraction: float | None,
) -> PlotOf:
    """The picture of groups of patients."""
    from cxrbench.leaderboard.display import shown_names
    from cxrbench.leaderboard.pictures.groups import groups_of
    from cxrbench.leaderboard.plots.named import of_groups

    found = by_group(
        by, results, baseline=baseline, tasks=tasks, metrics=metrics, replicates=replicates, seed=seed, cache=cache,
        bar=bar,
    ).found  # fmt: skip
    names = shown_names(sorted({r.encoder for r in found.records}), called)
    records = tuple(replace(r, encoder=names[r.encoder]) for r in found.records)
    if missing := [name for name in shown if name not in names.values()]:
        raise UserError(f"--encoders {missing[0]}: the results have {', '.join(sorted(names.values()))}")
    kept = tuple(r for r in records if not shown or r.encoder in shown)
    return PlotOf(of_groups(groups_of(replace(found, records=kept)), fraction), tuple(sorted(names.values())))
