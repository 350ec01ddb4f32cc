"""Pages to be opened in a browser, of made-up results: one with everything on it, and one with many columns."""

from dataclasses import replace
from pathlib import Path

from cxrbench.api.markup import to_html
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.display import encoders_of, renamed, shown_names
from cxrbench.leaderboard.latex.text import latex_text
from cxrbench.leaderboard.page.inside import Inside, Writers
from cxrbench.leaderboard.page.page import to_page
from cxrbench.leaderboard.pictures.whole import of_page
from cxrbench.leaderboard.published.figure import PublishedFigure
from cxrbench.leaderboard.statistics.alignment import AlignedTask
from cxrbench.leaderboard.subgroups.evaluate import by_group
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import NotApplicable
from support.made_up import made_up_predictions as made_up

SCRIPT = "<script>window.broken = 1</script>"
QUOTED = '"quo\'ted" | `a` & *b*'
ARABIC = "نموذج"
TURNED = "\u202eevil"
SPCL = "spcl@runs/x/encoder.safetensors"
ENCODERS = {SPCL: 2.0, SCRIPT: 1.6, QUOTED: 1.2, ARABIC: 0.9, TURNED: 0.7, "timm:resnet50": 1.9, "random": 0.3}
LABELS = ("Effusion", "<b>Nodule</b>/Mass", "x, \"y\" & 'z'")
DATASETS = ("rsna", "siim", "<i>clinic</i>")


FIGURE = PublishedFigure(
    paper="Paper 2026", table="Table 1", encoder="CheXzero <1>", task=AlignedTask(False, "rsna", "classification", 1.0),
    metric="auroc", label="macro", value=0.912, printed="0.912", spread="0.004", n="",
    source="Paper 2026, Table 1, row 1", differs=("split", "labels"),
)  # fmt: skip


def everything() -> tuple[Board, Inside]:
    """Real and synthetic results, two label fractions, hostile names, a † , an n/a, subgroups, a published figure."""
    cells = [
        made_up(
            encoder, dataset, strength=strength, labels=LABELS, fraction=fraction, synthetic=dataset == "phantom",
            pretrained_on=("rsna",) if encoder == "timm:resnet50" else (),
        )
        for encoder, strength in ENCODERS.items()
        for dataset in (*DATASETS, "phantom")
        for fraction in (0.1, 1.0)
        if (encoder, dataset) != (ARABIC, "siim")
    ]  # fmt: skip
    refused = {"encoder": ARABIC, "dataset": "siim", "protocol": "classification", "fraction": 1.0}
    board = build(cells, replicates=100, not_applicable=[NotApplicable(refused, "it has <no> maps", False)])
    images = {f"i{k:04}": "FM"[k // 2 % 2] for k in range(160)}
    of_rsna = [one for one in cells if one.cell["dataset"] == "rsna" and one.cell["fraction"] == 1.0]
    grouped = by_group(of_rsna, {"": images}, "sex", replicates=100)
    cards = dict.fromkeys(ENCODERS, (("Licence", "<b>MIT</b>"), ("Weights (SHA-256)", "0" * 64)))
    names = shown_names(encoders_of(board), {})
    costs = {name: {"parameters": 10**k, "gflops_per_image": float(k)} for k, name in enumerate(ENCODERS)}
    board = replace(board, efficiency=costs)
    pictures = of_page(renamed(board, names), cells, [grouped], names)
    return board, Inside(cards, [grouped], pictures, [FIGURE])


def wide() -> tuple[Board, Inside]:
    """More columns than paper has room for."""
    cells = [
        made_up(encoder, f"data{k:02}", strength=strength, labels=("a",), n=60)
        for encoder, strength in (("spcl", 1.5), ("random", 0.3))
        for k in range(16)
    ]
    return build(cells, replicates=100, metrics=("auroc",)), Inside()


def written(board: Board, inside: Inside, file: Path) -> Path:
    """The page as a file."""
    file.write_text(to_page(board, Look(), inside, Writers(to_html, latex_text)), encoding="utf-8")
    return file
