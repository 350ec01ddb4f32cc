"""``cxrbench results``: pack, merge, check, rename."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrbench import api
from cxrbench.cli.console import counting_late, table, visible_lines, warn
from cxrbench.cli.options import JsonOption, ResultsOption
from cxrbench.errors import UserError

if TYPE_CHECKING:
    from cxrbench.api.sharing.results import Checked

results_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Bring results to others, and theirs together with yours."
)
SHOWN = 40  # lines of findings that are printed


@results_app.command("pack")
def results_pack(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    results: ResultsOption = Path("results"),
    salt: Annotated[
        Path | None,
        typer.Option(help="File with the secret that makes pseudonyms; made if it is not there, never packed."),
    ] = None,
    attributes: Annotated[
        str, typer.Option(help="What of tested patients may leave, by commas: sex, age (bands), view, site, scanner.")
    ] = "",
    aggregate: Annotated[
        bool,
        typer.Option("--aggregate", help="No rows at all: sufficient statistics, from which a leaderboard is drawn."),
    ] = False,
    baseline: Annotated[
        str | None, typer.Option(help="With --aggregate: whom all others are tested against [default: random].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the results into one de-identified file: pseudonyms in the place of ids, no paths, no images' texts.

    The file is what `cxrbench results merge` reads. What hashing does not protect against: docs/sharing-results.md.

    Examples:

      cxrbench results pack --salt ~/salt.txt -o clinic.cxrpack

      cxrbench results pack --aggregate --baseline imagenet -o clinic.cxrpack

      cxrbench results check clinic.cxrpack
    """
    if baseline is not None and not aggregate:
        raise UserError("--baseline is of --aggregate: in a pack of cells every encoder can be the baseline")
    packed = api.pack_results(
        results, output, salt=salt, attributes=attributes, aggregate=aggregate, baseline=baseline, bar=counting_late
    )
    for line in (*packed.damaged, *packed.lines):
        warn(line)
    if as_json:
        print(json.dumps({**asdict(packed), "file": str(packed.file)}, indent=1))
    else:
        stays = f"; the salt stays in {salt}" if salt else ""
        print(visible_lines(f"{packed.file}: {_counted(packed.counts)}{stays}"))
    if packed.damaged:
        raise typer.Exit(1)


@results_app.command("merge")
def results_merge(
    sources: Annotated[list[Path], typer.Argument(help="Results folders, or files of `cxrbench results pack`.")],
    into: Annotated[Path, typer.Option("--into", help="Results folder to merge into; what it has comes first.")],
    prefer: Annotated[
        str | None, typer.Option(help="Decide conflicts: newest (computed last) or first (what was there).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring results of several people together: what is the same once, conflicts named, nothing overwritten.

    Exit code 1 where files are at odds and --prefer does not decide, or where some are damaged.

    Examples:

      cxrbench results merge results clinic.cxrpack --into together

      cxrbench results merge anna/results ben/results --into together --prefer newest
    """
    merged = api.merge_results(list(sources), into, prefer=prefer, bar=counting_late)  # type: ignore[arg-type]
    for line in (*merged.damaged, *(conflict.line for conflict in merged.conflicts), *merged.remarks):
        warn(line)
    if as_json:
        print(json.dumps({**asdict(merged), "into": str(merged.into)}, indent=1))
    else:
        print(visible_lines(f"{into}: added {_counted(merged.added)}; there already: {_counted(merged.same)}"))
        if merged.conflicts and not merged.settled:
            print(f"{len(merged.conflicts)} conflicts: what was there was kept; --prefer newest|first decides")
    if not merged.in_peace:
        raise typer.Exit(1)


@results_app.command("check")
def results_check(
    source: Annotated[Path, typer.Argument(help="A results folder, or a file of `cxrbench results pack`.")],
    as_json: JsonOption = False,
) -> None:
    """What is in it, whole or damaged, under which terms, and what in it still looks like an identifier or a path.

    Changes nothing. Exit code 1 where something is damaged or may identify somebody.

    Example: cxrbench results check clinic.cxrpack
    """
    found = api.check_results(source)
    print(json.dumps({**asdict(found), "source": str(source)}, indent=1) if as_json else visible_lines(_report(found)))
    if not found.clean:
        raise typer.Exit(1)


@results_app.command("rename")
def results_rename(
    old: Annotated[str, typer.Argument(help="The name as the results have it.")],
    new: Annotated[str, typer.Argument(help="The name that it gets.")],
    results: ResultsOption = Path("results"),
    encoder: Annotated[bool, typer.Option("--encoder", help="It is an encoder, where both are called so.")] = False,
    dataset: Annotated[bool, typer.Option("--dataset", help="It is a data set, where both are called so.")] = False,
) -> None:
    """Call an encoder or a data set otherwise, in every place of a results folder.

    Example: cxrbench results rename spcl@/home/me/runs/x/encoder.safetensors spcl-ours
    """
    if encoder and dataset:
        raise UserError("--encoder and --dataset: say one of them")
    what: Literal["encoder", "dataset"] | None = "encoder" if encoder else "dataset" if dataset else None
    renamed = api.rename_in_results(results, old, new, what=what)
    for line in renamed.remarks:
        warn(line)
    name = "data set" if renamed.what == "dataset" else "encoder"
    print(visible_lines(f"{name} {old} is called {new} in {_counted(renamed.files)} of {results}"))


def _report(found: "Checked") -> str:
    """As text."""
    kind = "exchange file" if found.facts else "results folder"
    lines = [f"{found.source}: {kind}, {_counted(found.counts)}"]
    if found.columns:
        lines += ["", table([dict(row) for row in found.columns])]
    if found.terms:
        lines += ["", "Who may share the data sets:", *(f"  {name}: {terms}" for name, terms in found.terms.items())]
    lines += ["", *(f"damaged: {line}" for line in found.damaged)] if found.damaged else []
    lines += [f"none of ours, never packed: {name}" for name in found.foreign[:SHOWN]]
    lines += [f"  and {len(found.foreign) - SHOWN} more"] if len(found.foreign) > SHOWN else []
    shown = [f"{one.what}: {one.where}" + f" ({one.example!r})" * bool(one.example) for one in found.findings[:SHOWN]]
    if found.findings:
        lines += ["", f"It may identify somebody, in {len(found.findings)} places:", *(f"  {line}" for line in shown)]
        lines += [f"  and {len(found.findings) - SHOWN} more"] if len(found.findings) > SHOWN else []
        lines += [] if found.facts else ["`cxrbench results pack` makes a file without them."]
    else:
        lines += ["", "Nothing in it looks like an identifier, a path, an address or a date."]
    return "\n".join(lines)


def _counted(counts: object) -> str:
    """``12 cells, 2 manifests``."""
    assert isinstance(counts, dict)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
