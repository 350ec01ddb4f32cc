"""What an encoder is called once the folders of the machine that it ran on are cut out of its name."""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from cxrbench.errors import UserError
from cxrbench.plugins.specs import PYTHON_FILE, parse_encoder

DIGITS = 6
LOCAL = re.compile(r"[.~/\\]|[A-Za-z]:[\\/]")
"""How a variant begins that is a folder or file: ``hf:./folder``, not ``hf:microsoft/rad-dino``."""


def without_folders(name: str, fingerprint: str) -> str:
    """``spcl@/home/me/runs/x/encoder.safetensors`` as ``spcl@encoder.safetensors~3fa2b1``.

    The digits are of the encoder's fingerprint, so two files of one name stay apart, and the same encoder is called
    the same wherever it is packed. Names in which no folder stands (``imagenet``, ``hf:microsoft/rad-dino``) stay.
    """
    try:
        request = parse_encoder(name)
    except UserError:  # the name of an object of a program
        short = _last(name) if _is_local(name) else name
        return name if short == name else f"{short}~{fingerprint[:DIGITS]}"
    script = PYTHON_FILE.fullmatch(name.strip()) is not None
    first = _last(request.name) if script or _is_local(request.name) else request.name
    variant, weights = request.variant, request.weights
    if variant is not None and (request.name == "embeddings" or _is_local(variant)):
        variant = _last(variant)
    if weights is not None:
        weights = _last(weights)
    short = first + (f":{variant}" if variant is not None else "") + (f"@{weights}" if weights is not None else "")
    return name if short == name.strip() else f"{short}~{fingerprint[:DIGITS]}"


def _is_local(text: str) -> bool:
    return LOCAL.match(text) is not None or "\\" in text or (("/" in text) and Path(text).exists())


def _last(path: str) -> str:
    """The last part of a path of either kind; ``#NAME`` behind a file of embeddings is kept."""
    file, mark, rest = path.partition("#")
    return (PureWindowsPath(file).name if "\\" in file else PurePosixPath(file).name) + mark + rest
