"""How long does the leaderboard's page take, for a board larger than any that we know? In Debian's chromium.

Makes a board of made-up predictions, 50 encoders x 40 data sets x 14 labels, writes its page, opens it, and measures
the first paint (from the start of the navigation, reading the file included) and what it takes from a click to the
frame that shows what it did.

Run: python benchmarks/page.py [--encoders 50] [--datasets 40] [--labels 14] (writes benchmarks/results/page.md)
Needs chromium, and `pip install playwright` (`make browser` installs both).
"""

import argparse
import gzip
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import write_report

from cxrbench.api.markup import to_html
from cxrbench.leaderboard.board import Board
from cxrbench.leaderboard.cells import Look
from cxrbench.leaderboard.latex.text import latex_text
from cxrbench.leaderboard.page.inside import Inside, Writers
from cxrbench.leaderboard.page.page import to_page
from cxrbench.leaderboard.pictures.whole import of_page
from cxrbench.leaderboard.tables import build
from cxrbench.predictions import Predictions

IMAGES, REPLICATES, TIMES = 120, 100, 5
UNTIL_PAINTED = """(act) => new Promise((done) => { const start = performance.now(); (0, eval)(act);
  requestAnimationFrame(() => { const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now() - start); channel.port2.postMessage(0); }); })"""
"""Milliseconds from the act to the frame after it: the message comes when that has been laid out and painted."""
CHOOSE = """{const e = document.querySelector('#choose-%s');
  e.selectedIndex = (e.selectedIndex + 1) %% e.options.length; e.dispatchEvent(new Event('change'));}"""
ACTS = {
    "sort by a column": "document.querySelectorAll('#board thead button')[7].click()",
    "another metric": CHOOSE % "metric",
    "the labels of a data set": CHOOSE % "columns",
    "hide a data set": "document.querySelector('input[data-of=\"Data sets\"]').click()",
    "hide a family": "document.querySelector('input[data-of=\"Families\"]').click()",
    "type into the search": "{const e = document.querySelector('#choose-find'); e.value = e.value ? '' : '1'; "
    "e.dispatchEvent(new Event('input'));}",
    "an arrow key": "{const b = document.querySelector('#board [tabindex=\"0\"]'); b.dispatchEvent(new "
    "KeyboardEvent('keydown', {key: 'ArrowDown', bubbles: true}));}",
    "dark": "document.querySelector('#theme').click()",
    "the table as Markdown": "{document.querySelector('#as-markdown').click();"
    " document.querySelector('dialog#text').close();}",
}
"""What a reader does, in the page's own terms."""


def cells(encoders: int, datasets: int, labels: int) -> Iterator[Predictions]:
    """Made-up predictions: each encoder a little better than the one before."""
    names = tuple(f"label {k}" for k in range(labels))
    for d in range(datasets):
        of_data = np.random.default_rng(d)
        targets = (of_data.random((IMAGES, labels)) < 0.35).astype(float)
        common = of_data.standard_normal((IMAGES, labels))
        for e in range(encoders):
            own = np.random.default_rng([d, e]).standard_normal((IMAGES, labels))
            scores = 1 / (1 + np.exp(-(1 + e / encoders) * (targets - 0.5) - 0.7 * common - 0.7 * own))
            rows = pd.DataFrame(
                {"image_id": [f"i{i:04}" for i in range(IMAGES)], "patient_id": "", "split": "test"}
                | {f"score:{name}": scores[:, k] for k, name in enumerate(names)}
                | {f"target:{name}": targets[:, k] for k, name in enumerate(names)}
            )
            yield Predictions(
                rows=rows, labels=names, kind="multilabel", groups={"macro": names}, synthetic=False,
                cell={"encoder": "random" if e == 0 else f"timm:encoder-{e:02}", "dataset": f"data-{d:02}",
                      "protocol": "classification", "fraction": 1.0, "seed": 0},
                encoder={"pretrained_on": []}, dataset={"name": f"data-{d:02}", "lineage": [], "notes": []},
            )  # fmt: skip


def made(board: Board, predictions: Sequence[Predictions]) -> str:
    """The page, with its pictures."""
    names = {str(one.cell["encoder"]): str(one.cell["encoder"]) for one in predictions}
    inside = Inside(pictures=of_page(board, predictions, (), names))
    return to_page(board, Look(), inside, Writers(to_html, latex_text))


def opened(browser: Any, file: Path, width: int) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds on the clock and of the page's thread, several times: of the first paint, of what a reader does.

    What the page puts off until after the frame (rows that nobody sees yet, the picture) is left out of the thread's.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(TIMES):
        page = browser.new_page(viewport={"width": width, "height": 900})
        thread = page.context.new_cdp_session(page)
        thread.send("Performance.enable", {"timeDomain": "threadTicks"})

        def used(of: Any = thread) -> float:
            metrics = {one["name"]: one["value"] for one in of.send("Performance.getMetrics")["metrics"]}
            return 1000 * metrics["TaskDuration"]

        def measure(what: str, act: str, page: Any = page, used: Any = used) -> None:
            before = used()
            clock = page.evaluate(UNTIL_PAINTED, act)
            found.setdefault(what, []).append((clock, used() - before))

        page.goto(file.as_uri())
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
        paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        found.setdefault("first paint, with the table", []).append((paint, used()))
        page.wait_for_selector("#picture svg")
        page.evaluate("() => { window.setTimeout = () => 0; }")
        for what, act in ACTS.items():
            measure(what, act)
            page.evaluate(UNTIL_PAINTED, "document.querySelector('#reset').click()")
        for tab in page.locator("#tabs button").all():
            measure(f"picture: {tab.inner_text()}", f"document.getElementById({tab.get_attribute('id')!r}).click()")
        page.close()
    return found


def median(numbers: Sequence[tuple[float, float]]) -> list[str]:
    """Of the clock, with the slowest, and of the thread."""
    clock, thread = zip(*numbers, strict=True)
    return [f"{statistics.median(clock):.0f} ({max(clock):.0f})", f"{statistics.median(thread):.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", type=int, default=50)
    parser.add_argument("--datasets", type=int, default=40)
    parser.add_argument("--labels", type=int, default=14)
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    predictions = list(cells(args.encoders, args.datasets, args.labels))
    board = build(predictions, replicates=REPLICATES)
    start = time.process_time()
    text = made(board, predictions)
    seconds, load = time.process_time() - start, os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder, "board.html")
        file.write_text(text, encoding="utf-8")
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        by_width = {width: opened(browser, file, width) for width in (1280, 390)}
        version = browser.version
        browser.close()
    rows = [[what, *(text for of in by_width.values() for text in median(of[what]))] for what in by_width[1280]]
    size, packed = len(text.encode()), len(gzip.compress(text.encode(), mtime=0))
    write_report(
        "page", "How long the leaderboard's page takes",
        ["what", *(head for width in by_width for head in (f"{width} px wide, ms", "CPU ms"))], rows,
        f"{args.encoders} encoders x {args.datasets} data sets x {args.labels} labels, {len(board.records):,} records; "
        f"all six metrics and all pictures: {size / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed, written in "
        f"{seconds:.1f} s of CPU. Chromium {version} without a window; median of {TIMES} (and the slowest), from the "
        f"act to the painted frame; CPU: of the page's thread, which counts where the machine is busy (load average "
        f"{load:.1f} on {len(os.sched_getaffinity(0))} cores). Asked for: first paint under 1,000 ms, anything a "
        "reader does under 100 ms.",
    )  # fmt: skip


if __name__ == "__main__":
    main()
