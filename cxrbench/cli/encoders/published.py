"""``cxrbench encoders list --published|download|card``: published encoders, and what a file cannot say of itself."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench import api
from cxrbench.files.names import visible


def published_rows(as_json: bool) -> list[dict[str, Any]]:
    """The table of ``encoders list --published``; as JSON everything that is known."""
    rows = []
    for line in api.list_published():
        entry = line.entry
        row: dict[str, Any] = {
            "name": entry.spec, "what it is": entry.title, "pixels": entry.preprocess.size, "here": line.where,
            "licence": entry.licence, "pretrained on": ", ".join(entry.pretrained_on) or entry.seen or "-",
            "unverified": ", ".join(entry.unverified) or "-",
        }  # fmt: skip
        rows.append(row | (facts(entry) if as_json else {}))
    return rows


def facts(entry: Any) -> dict[str, Any]:
    """Everything that is known of a published encoder, as plain values."""
    from dataclasses import asdict

    return {key: dict(value) if key in ("sources", "options") else value for key, value in asdict(entry).items()}


def encoders_download(
    name: Annotated[str, typer.Argument(help="A published encoder, e.g. rad-dino")],
    execute: Annotated[bool, typer.Option("--run", help="Run the commands, too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder to fill [default: where cxr:NAME looks for it].")] = None,
) -> None:
    """Print the exact download of a published encoder with its terms; with --run, do it.

    Example: cxrbench encoders download rad-dino --run
    """
    entry = api.find_published(name)
    gated = {True: "yes", False: "no", None: "not known"}[entry.gated]
    said = {
        "encoder": f"{entry.title} ({entry.spec})",
        "licence": entry.licence,
        "terms": entry.terms,
        "gated": gated,
        "citation": f"{entry.citation} ({entry.year})",
        "pretrained on": ", ".join(entry.pretrained_on) or "-",
        "has seen": entry.seen,
        "differs": entry.deviation,
        "note": entry.refused,
        "unverified": ", ".join(entry.unverified),
    }
    for what, text in said.items():
        if text:
            print(visible(f"{what:>14}  {text}"))
    for line in api.download_commands(name, out):
        print(visible(f"{'do':>14}  {line}"))
    if execute:
        print(visible(f"{'it is at':>14}  {api.download(name, out)}"))


def encoders_card(
    encoder: Annotated[str, typer.Argument(help="A file of weights, or timm:NAME@FILE")],
) -> None:
    """Write FILE.toml beside weights, to be filled in: preprocessing, what they have seen, licence.

    Without it these are assumed, with a warning here and on the board.

    Example: cxrbench encoders card timm:vit_base_patch16_224@vit.pth
    """
    path = api.write_card(encoder)
    print(visible(f"{path}: correct it, and fill in pretrained_on"))
