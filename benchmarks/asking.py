"""What can be asked of results, on real images: the commands of docs/asking-results.md, their output written there.

    python benchmarks/asking.py --data DATA --scratch DIR

DATA holds ``nih``, ``rsna`` and ``kermany`` (docs/real-data.md says what they are); a few minutes of one core, and
seconds once the features are cached in DIR. Without --data (or CXRBENCH_DATA) there is nothing to ask, and it says so.
"""

import argparse
import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from evidence.marked import put

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "asking-results.md"
PROTOCOLS, ELSEWHERE = "--results protocols", "--results elsewhere"
MERGED = "--train ./kermany_pneumonia.csv+nih"
BOTH = "kermany:classification,nih:classification"
RUNS = (
    f"run --encoder pixels,random,imagenet --tasks {BOTH},rsna:classification --data DATA",
    f"run --encoder pixels,imagenet --tasks {BOTH} --fractions 0.1,1 --seeds 3 {PROTOCOLS} --data DATA",
    f"run --encoder pixels,imagenet --tasks kermany:classification --folds 5 {PROTOCOLS} --data DATA",
    f"run --encoder pixels,imagenet --tasks kermany:knn,nih:knn {PROTOCOLS} --data DATA",
    f"run --encoder pixels,imagenet --train nih --tasks rsna:classification {ELSEWHERE} --data DATA",
    f"run --encoder pixels,imagenet {MERGED} --tasks nih:classification {ELSEWHERE} --data DATA",
    f"run --encoder pixels,imagenet --tasks rsna:classification,nih:classification {ELSEWHERE} --data DATA",
)


EFFICIENCY = re.compile(r"## Efficiency\n\n(\|.*\n?)+")


class Question(NamedTuple):
    """A command, and which paragraphs of its output the page keeps besides tables and their headings."""

    command: str
    also: str = "(?!)"


QUESTIONS = {
    "board": Question("leaderboard --metrics auroc --baseline random", r"- Cells: |- nih and rsna"),
    "sex": Question("leaderboard --by sex --tasks nih:classification --baseline pixels", r"- "),
    "view": Question("leaderboard --by view --tasks nih:classification --baseline pixels", r"- nih"),
    "labels": Question("leaderboard --tasks nih:classification --metrics auroc --labels top:5", r"Labels: "),
    "sd": Question(f"leaderboard --tasks {BOTH} --metrics auroc --spread sd {PROTOCOLS}"),
    "folds": Question(
        f"leaderboard --tasks kermany:classification+folds5 --metrics auroc --spread sd --baseline pixels {PROTOCOLS}"
    ),
    "two protocols": Question(
        f"compare imagenet --protocols knn,classification --tasks kermany,nih {PROTOCOLS}", r"Difference: "
    ),
    "fractions": Question(
        f"leaderboard --encoder imagenet --protocols classification,classification@0.1,knn --metrics auroc {PROTOCOLS}",
        r"- Cells: ",
    ),
    "names": Question(
        "leaderboard --tasks kermany --metrics auroc --names imagenet=ImageNet,'pixels=16 x 16 pixels'", r"- `[^*]"
    ),
    "margin": Question("compare imagenet pixels --tasks kermany --margin 0.05", r"Difference: "),
    "elsewhere": Question(
        f"leaderboard --tasks rsna --metrics auroc --baseline pixels {ELSEWHERE}", r"- rsna:classification\+train"
    ),
    "own training": Question(
        f"compare imagenet --protocols classification,classification+train-nih --tasks rsna {ELSEWHERE}"
    ),
    "merged training": Question(
        "compare imagenet --protocols classification+train-kermany_pneumonia+train-nih,classification "
        f"--tasks nih {ELSEWHERE}",
        r"- nih: compared over",
    ),
    "grid": Question(
        "leaderboard --format grid --against random --tasks nih:classification,rsna:classification", r"Tested: |- "
    ),
    "published": Question(
        "leaderboard --published --tasks nih:classification,rsna:classification --metrics auroc",
        r"- In italics|- [¹²³⁴⁵⁶⁷⁸⁹]|- Published",
    ),
    "latex": Question("leaderboard --format latex --tasks nih:classification,rsna:classification --metrics auroc"),
    "csv": Question(
        "calibration --tasks DATA/kermany/labels.csv:classification --method temperature --encoders imagenet,pixels"
    ),
}


def trimmed(text: str, also: str) -> str:
    """The tables of a Markdown output under their headings (in bold), and the paragraphs that begin as wanted.

    A list is as many paragraphs as it has items. What encoders cost is asked nowhere on the page, and left out.
    """
    kept: list[str] = []
    for block in map(str.strip, re.split(r"\n\n|\n(?=- )", re.sub(EFFICIENCY, "", text.strip()))):
        if block.startswith("# "):  # the title of the whole board
            continue
        if block.startswith("#"):
            heading = f"**{block.lstrip('# ')}**"
            kept = [*(kept[:-1] if kept and kept[-1].startswith("**") else kept), heading]
        elif block.startswith("|") or re.match(also, block):
            kept.append(block)
    if kept and kept[-1].startswith("**"):
        kept.pop()
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", "\n\n".join(kept))


def first_of_latex(text: str) -> str:
    """The comment at the top, and the first table of a LaTeX output without its legend."""
    table = text[: text.index("\\par\\smallskip")]
    return f"```latex\n{table}...\n```"


def with_label_of_nih(kermany: Path, out: Path) -> None:
    """kermany's images with one label, called what nih calls it."""
    with (kermany / "labels.csv").open() as table, out.open("w") as written:
        rows = csv.writer(written)
        rows.writerow(["image", "patient", "Pneumonia"])
        for row in csv.DictReader(table):
            rows.writerow([kermany / row["file"], row["patient_key"], int(row["label"] != "normal")])


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CXRBENCH_DATA"))
    parser.add_argument("--scratch", type=Path, default=Path("asking"))
    arguments = parser.parse_args()
    if arguments.data is None:
        print("no --data: there are no real images to ask about")
        return
    data = Path(arguments.data).resolve()
    scratch: Path = arguments.scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)

    def told(command: str) -> str:
        words = [word.replace("DATA", str(data)) for word in shlex.split(command)]
        print("cxrbench", shlex.join(words), file=sys.stderr)
        start = [sys.executable, "-c", "from cxrbench.cli.main import main; main()"]
        environment = {**os.environ, "CXRBENCH_CACHE": str(scratch / "cache")}
        done = subprocess.run(
            [*start, *words], cwd=scratch, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout.replace(str(data), "DATA")

    with_label_of_nih(data / "kermany", scratch / "kermany_pneumonia.csv")
    for command in RUNS:
        told(command)
    found = {"runs": "```\n" + "\n".join(f"cxrbench {command}" for command in RUNS) + "\n```"}
    for name, question in QUESTIONS.items():
        text = told(question.command)
        output = first_of_latex(text) if "--format latex" in question.command else trimmed(text, question.also)
        found[name] = f"```\ncxrbench {question.command}\n```\n\n{output}"
    put(DOCUMENT, found)


if __name__ == "__main__":
    main()
