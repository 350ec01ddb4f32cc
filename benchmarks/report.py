"""Prints a benchmark's table and keeps it in ``benchmarks/results``."""

import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate


def write_report(name: str, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> None:
    """Table, note, machine and command, to stdout and to ``benchmarks/results/NAME.md``."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in facts if line.startswith("model name")), "unknown CPU")
    command = shlex.join("DIR" if Path(word).is_absolute() else word for word in sys.argv)  # where, is nobody's concern
    text = "\n\n".join(
        [
            f"# {title}",
            tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True),
            note,
            f"`python {command}` on {cpu}, {torch.get_num_threads()} threads, "
            f"Python {platform.python_version()}, torch {torch.__version__}.",
        ]
    )
    out = Path(__file__).with_name("results") / f"{name}.md"
    out.parent.mkdir(exist_ok=True)
    out.write_text(text + "\n")
    print(text)
