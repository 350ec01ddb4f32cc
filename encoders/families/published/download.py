"""How a published encoder is fetched: the exact commands with their terms, and running them."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.encoders.families.published.places import folder_of, found_here
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.files.digests import file_sha256

RUN = ("hf", "curl")  # what is run here; the rest is a person's
RECORD = "cxrbench-download.txt"


def commands(entry: PublishedEncoder, folder: Path | None = None) -> list[str]:
    """The commands (or sentences) in order, with the folder that they fill."""
    facts = {"id": entry.id, "file": entry.file, "revision": entry.revision}
    return [line.format(folder=folder or folder_of(entry), **facts) for line in entry.download]


def runnable(entry: PublishedEncoder) -> bool:
    """Whether all of it can be done by a program, without a person who asks, agrees or logs in."""
    return all(shlex.split(line)[0] in RUN for line in entry.download) and not entry.gated


def run(entry: PublishedEncoder, folder: Path | None = None) -> Path:
    """Run the commands and return the file or folder; what came is recorded beside it, with the sha256 of every file.

    Raises UserError where a person must do it, where a program is missing, and where one fails.
    """
    if not runnable(entry):
        raise UserError(f"{entry.spec} cannot be fetched by a program: {'; '.join(commands(entry, folder))}")
    target = folder or folder_of(entry)
    target.mkdir(parents=True, exist_ok=True)
    for line in commands(entry, folder):
        words = shlex.split(line)
        program = _program(words[0])
        if subprocess.run([program, *words[1:]], check=False).returncode:
            raise UserError(f"{entry.spec}: `{line}` failed; its own words are above")
    _check(entry, target)
    return found_here(entry) or target


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.is_file() else shutil.which(name)
    if program is None:
        how = ": pip install huggingface_hub" if name == "hf" else ""
        raise UserError(f"the program {name} is not installed{how}")
    return program


def _check(entry: PublishedEncoder, folder: Path) -> None:
    """Record what came; raise UserError if it is not the published file, where its sha256 is known."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and ".cache" not in f.parts and f.name != RECORD)
    digests = {file.relative_to(folder).as_posix(): file_sha256(file) for file in files}
    with atomic_path(folder / RECORD) as temporary:
        lines = [f"{entry.spec}: {entry.title}; licence {entry.licence}", *(f"{d}  {n}" for n, d in digests.items())]
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if entry.sha256 and not digests.get(entry.file, "").startswith(entry.sha256):
        raise UserError(f"{folder / entry.file} is not the published file: its sha256 does not begin {entry.sha256}")
