"""The wheels of a bundle: cxrbench's own, and those of all that it needs, for this platform."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cxrbench import __version__
from cxrbench.errors import UserError
from cxrbench.plugins.entry_points import unknown

NAME = "cxrbench"
TORCH = ("torch", "torchvision", "triton")
OF_TORCH = ("nvidia-", "cuda-")
"""How the packages begin that only torch needs, gigabytes of them."""
NOT_SOURCE = (".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "results", "runs", "site")


def installed(name: str, extras: Sequence[str]) -> dict[str, str]:
    """A distribution and all that it needs here, with these extras: versions by canonical name.

    Raises UserError where something that is needed is not installed.
    """
    found: dict[str, str] = {}
    todo, seen = [(name, tuple(extras))], set[tuple[str, tuple[str, ...]]]()
    while todo:
        one, with_extras = todo.pop()
        key = canonicalize_name(one), with_extras
        if key in seen:
            continue
        seen.add(key)
        try:
            distribution = metadata.distribution(one)
        except metadata.PackageNotFoundError as error:
            raise UserError(f"{one} is not installed, and cxrbench[{','.join(extras)}] needs it: install it") from error
        found[key[0]] = distribution.version
        for line in distribution.requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *with_extras)):
                todo.append((needed.name, tuple(sorted(needed.extras))))
    return found


def without_torch(versions: dict[str, str]) -> dict[str, str]:
    """What is left without torch and what only torch needs."""
    return {name: v for name, v in versions.items() if name not in TORCH and not name.startswith(OF_TORCH)}


def source_of(name: str = NAME) -> Path | None:
    """The checkout or wheel that cxrbench was installed from, where pip has noted it (PEP 610) and it is there."""
    noted = metadata.distribution(name).read_text("direct_url.json")
    url = urlsplit(json.loads(noted)["url"]) if noted else None
    path = Path(unquote(url.path)) if url is not None and url.scheme == "file" else None
    return path if path is not None and path.exists() else None


def check_asked(source: Path | None, extras: Sequence[str]) -> None:
    """Raise UserError for a source that is no checkout and no wheel of cxrbench, or an extra that it does not have."""
    if source is not None and not _is_source(source):
        raise UserError(f"--source {source} is no checkout and no wheel of cxrbench {__version__}: name one")
    known = [str(name) for name in metadata.metadata(NAME).get_all("Provides-Extra") or ()]
    if wrong := [name for name in extras if canonicalize_name(name) not in map(canonicalize_name, known)]:
        raise UserError(unknown("extra", wrong[0], known))


def _is_source(source: Path) -> bool:
    """By the name of a wheel, or by what a checkout says of itself."""
    if source.is_file():
        return source.suffix == ".whl" and source.name.startswith(f"{NAME}-{__version__}")
    try:
        said = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return said.get("project", {}).get("name") == NAME


def gather(folder: Path, python: str, source: Path | None, extras: Sequence[str], *, torch: bool) -> list[str]:
    """Put wheels into ``folder``: cxrbench's from its checkout or wheel, the others as pip gets them.

    For the interpreter that runs this, of exactly the versions that are installed here; for another one, of whatever
    its pip finds for it. Returns the requirements that were not fetched (torch). Raises UserError where pip fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = _own_wheel(folder, python, source)
    versions = installed(NAME, extras)
    wanted = versions if torch else without_torch(versions)
    if Path(python).resolve() == Path(sys.executable).resolve():
        lines = [f"{name}=={version}" for name, version in sorted(wanted.items()) if name != NAME]
        _pip(python, ["wheel", "--no-deps", "--wheel-dir", str(folder), *lines])
    elif torch:
        _pip(python, ["wheel", "--wheel-dir", str(folder), f"{own}[{','.join(extras)}]" if extras else str(own)])
    else:
        raise UserError("--no-torch with --python: pip of another interpreter decides what it needs; leave one out")
    return [] if torch else [f"{name}=={versions[name]}" for name in TORCH[:2] if name in versions]


def _own_wheel(folder: Path, python: str, source: Path | None) -> Path:
    """cxrbench's wheel: built from a copy of its checkout, so that nothing is left in it; or a wheel as it is."""
    if source is None:
        _pip(python, ["wheel", "--no-deps", "--wheel-dir", str(folder), f"{NAME}=={__version__}"])
    elif source.is_file():
        shutil.copy2(source, folder / source.name)
    else:
        with TemporaryDirectory(prefix="cxrbench-") as room:
            copy = Path(room) / NAME
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE))
            _pip(python, ["wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)])
    found = sorted(folder.glob(f"{NAME}-{__version__}*.whl"))
    if not found:
        raise UserError(f"no wheel of cxrbench {__version__} in {folder}: give its checkout or wheel by --source")
    return found[0]


def _pip(python: str, words: Sequence[str]) -> None:
    """Run pip. Raises UserError with its last words where it fails."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"cannot run {python}: {error.strerror or error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if re.match(r"\s*ERROR", line)] or done.stderr.splitlines()
        raise UserError(f"pip could not get the wheels: {' '.join(said[-1:]) or done.returncode}")
