"""Encoder specs as text: the grammar, and the hashes that say who a loaded encoder is."""

import hashlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrbench.encoder import EncoderRequest
from cxrbench.errors import UserError

if TYPE_CHECKING:  # the grammar is read by commands that never compute
    from torch import nn

PYTHON_FILE = re.compile(r"(?P<file>.+?\.py):(?P<object>[A-Za-z_]\w*)(?:@(?P<weights>.*))?", re.DOTALL)
TEXT_TOWER = "text_tower"


def parse_encoder(text: str) -> EncoderRequest:
    """Parse ``NAME[:VARIANT][@WEIGHTS]`` or ``FILE.py:CLASS[@WEIGHTS]``.

    The first ``:`` ends the name and the first ``@`` begins the weights, so variants may hold ``:`` and ``/``
    (``open_clip:hf-hub:microsoft/...``) and paths of weights anything. A variant that is an existing path is taken
    whole, ``@`` included (``hf:./my@folder``). Raises UserError if a part is empty.
    """
    text = text.strip()
    if match := PYTHON_FILE.fullmatch(text):
        request = EncoderRequest(match["file"], match["object"], match["weights"])
    elif text.endswith(".py"):
        raise UserError(f"{text!r} names a file but no class in it: write {text}:CLASS")
    else:
        head, at, tail = text.partition("@")
        name, colon, variant = head.partition(":")
        if colon and at and Path(f"{variant}@{tail}").exists():
            variant, at, tail = f"{variant}@{tail}", "", ""
        request = EncoderRequest(name, variant if colon else None, tail if at else None)
    if not request.name or request.variant == "" or request.weights == "":
        raise UserError(f"encoder {text!r} has an empty part: the grammar is NAME[:VARIANT][@WEIGHTS]")
    return request


def weights_sha256(module: "nn.Module") -> str:
    """Hex sha256 over every parameter and buffer: name, dtype, shape and bytes, in the order of names.

    Buffers that are not saved with the state dict count too: fixed position embeddings decide the features as well.
    """
    import torch

    digest = hashlib.sha256()
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def source_sha256(module: "nn.Module", factory: Callable[..., Any]) -> str:
    """Hex sha256 of the source files that decide what ``module`` computes.

    These are the file of ``factory`` (the class, or the function that builds it) and the files that define the classes
    of the module and all its submodules, torch's own excepted. A class alone would miss the helpers beside it, and a
    backbone that is defined in another file. Whole files, so an edited comment counts as a change: a needless
    recomputation is cheap, a wrong cell is not. Paths do not count, contents do.
    """
    classes = {type(part) for part in module.modules()}
    files = {source_file(thing) for thing in (factory, *classes) if not in_torch(thing)}
    contents = {hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files if file}
    if not contents:  # typed into an interpreter: no file to read
        contents = {f"{cls.__module__}.{cls.__qualname__}" for cls in classes}
    return hashlib.sha256("|".join(sorted(contents)).encode()).hexdigest()


def in_torch(thing: Any) -> bool:
    """Whether a class or function belongs to torch itself, whose version is recorded elsewhere."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == "torch"


def source_file(thing: Any) -> str | None:
    """The file that defines a class or function, or None if there is none."""
    try:
        return inspect.getsourcefile(inspect.unwrap(thing) if callable(thing) else type(thing))
    except TypeError:
        return None


def count_parameters(module: "nn.Module") -> int:
    """Parameters of the image encoder: everything but a submodule named ``text_tower``, which images never meet."""
    return sum(p.numel() for name, p in module.named_parameters() if name.partition(".")[0] != TEXT_TOWER)
