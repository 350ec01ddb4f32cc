"""The folder of a bundle: what is put into it, in which order, and the sums by which it is checked."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cxrbench import __version__
from cxrbench.bundle import check
from cxrbench.bundle.weights import Carried, carried, copy
from cxrbench.bundle.wheels import NAME, check_asked, gather, source_of
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.digests import file_sha256

PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE")
READ_ME = """# cxrbench {version}, without a network

Made for {made_for}.

1. `python{python} check.py` compares every file with `SHA256SUMS`, makes `venv` beside this file, installs from
   `wheels` with `--no-index`, and runs the demo on the phantom. `--venv FOLDER` names another environment;
   `--no-demo` only installs.
2. `. venv/bin/activate`, then `cxrbench --help`. In this folder the encoders are called:

{encoders}

3. `export HF_HUB_OFFLINE=1` keeps libraries from looking for a hub. `docs` has the documentation, `cards` what is
   known of the encoders.
{torch}"""
WITHOUT = """
**torch is not in this bundle**: install {names} into the environment first (`python -m venv venv`, then pip from a
mirror or from wheels that somebody carried in), or put their wheels, and those that they need, into `wheels`.
"""


@dataclass(frozen=True)
class Bundled:
    """What was put into a bundle. ``without``: requirements that somebody else must bring."""

    folder: Path
    encoders: tuple[Carried, ...]
    wheels: int
    bytes: int
    without: tuple[str, ...]


def bundle(
    folder: Path,
    encoders: Sequence[str],
    *,
    python: str | None = None,
    source: Path | None = None,
    extras: Sequence[str] = ("baselines",),
    torch: bool = True,
    describe: Callable[[str], dict[str, Any]],
    told: Callable[[str], None],
) -> Bundled:
    """Fill a new folder. ``describe``: what is known of an encoder, which is built for it; ``told``: what is going on.

    Everything that can be known to be wrong is looked at before anything is fetched. Raises UserError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there and not empty: name a new folder")
    check_asked(source, extras)
    specs = tuple(carried(spec) for spec in encoders)
    cards = {one.spec: describe(one.spec) for one in specs}
    source = source or source_of()
    with writing(folder), _made(folder):
        told("wheels")
        without = gather(folder / "wheels", python or sys.executable, source, extras, torch=torch)
        for number, one in enumerate(specs):
            told(f"weights of {one.spec}")
            copy(one, folder)
            _write(
                folder / "cards" / f"{number:02}.json",
                {**cards[one.spec], "encoder": one.there},
            )
        told("documentation")
        _documentation(folder / "docs", source)
        version = _python_version(python)
        facts = {
            "cxrbench": __version__, "python": version, "made_for": f"Python {version}, {_platform()}",
            "install": f"{NAME}[{','.join(extras)}]=={__version__}" if extras else f"{NAME}=={__version__}",
            "encoders": [one.there for one in specs], "without": without,
        }  # fmt: skip
        _write(folder / check.FACTS, facts)
        (folder / "README.md").write_text(_read_me(facts, specs), encoding="utf-8")
        shutil.copyfile(str(check.__file__), folder / "check.py")
        told("sums")
        sums = write_sums(folder)
    wheels = [path for path in (folder / "wheels").iterdir() if path.suffix == ".whl"]
    return Bundled(folder, specs, len(wheels), sums, tuple(without))


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is filled; where that fails, or is interrupted, no half of it is in the way of the next try."""
    there = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if there:
            folder.mkdir()
        raise


def _documentation(target: Path, source: Path | None) -> None:
    """The pages of the checkout; without one the README that the wheel carries."""
    target.mkdir(parents=True)
    pages = [source / name for name in PAGES] if source and source.is_dir() else []
    for page in pages:
        if page.is_file():
            shutil.copyfile(page, target / page.name)
    if source and (source / "docs").is_dir():
        shutil.copytree(source / "docs", target / "docs", ignore=shutil.ignore_patterns("site"))
    if not (target / "README.md").is_file():
        # what follows the headers of a distribution's metadata is its README
        text = (metadata.distribution(NAME).read_text("METADATA") or "").partition("\n\n")[2]
        (target / "README.md").write_text(text, encoding="utf-8")


def _read_me(facts: dict[str, Any], specs: Sequence[Carried]) -> str:
    lines = [f"   * `{one.there}`" for one in specs] or ["   * `pixels`, `random`, and what else needs no files"]
    torch = WITHOUT.format(names=" and ".join(f"`{name}`" for name in facts["without"])) if facts["without"] else ""
    return READ_ME.format(
        version=__version__, made_for=facts["made_for"], python=facts["python"], encoders="\n".join(lines), torch=torch
    )


def write_sums(folder: Path) -> int:
    """Write the sums of all files; how many bytes they have."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != check.SUMS)
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}" for path in files]
    with atomic_path(folder / check.SUMS) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in files)


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")


def _python_version(python: str | None) -> str:
    if python is None:
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    words = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
