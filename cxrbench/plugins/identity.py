"""Who a loaded encoder is: hashes of all that decides its output."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxrbench.encoder import EncoderRequest, sidecar_path
from cxrbench.files.digests import file_sha256
from cxrbench.files.names import WEIGHTS
from cxrbench.plugins.sources import file_of, source_files
from cxrbench.plugins.state import code_digest, describe_modules

TEXT_TOWER = "text_tower"
NO_FILES = ""


def weights_sha256(module: nn.Module) -> str:
    """Hex sha256 over every parameter and buffer: name, dtype, shape and bytes, in the order of names.

    Buffers that are not saved with the state dict count too: fixed position embeddings decide the features as well.
    """
    digest = hashlib.sha256()
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def source_sha256(module: nn.Module, factory: Callable[..., Any]) -> str:
    """Hex sha256 of the source files that decide what ``module`` computes, by name: see ``source_files``.

    Whole files, so an edited comment counts as a change: a needless recomputation is cheap, a wrong cell is not. Of a
    class that no file has, because it was typed into a notebook, what its methods do.
    """
    classes = {type(part) for part in module.modules()}
    contents = sorted((name, file_sha256(path)) for name, path in source_files(factory, classes))
    typed = {cls for one in classes for cls in one.__mro__ if cls.__module__ == "__main__" and file_of(cls) is None}
    contents += sorted((cls.__qualname__, _methods_sha256(cls)) for cls in typed)
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def _methods_sha256(cls: type) -> str:
    """Hex sha256 of the code of a class's own methods, by name."""
    found = []
    for name, value in sorted(vars(cls).items()):
        function = getattr(value, "__func__", getattr(value, "fget", value))
        if hasattr(function, "__code__"):
            found.append((name, code_digest(function.__code__)))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def configuration(module: nn.Module, request: EncoderRequest) -> dict[str, str]:
    """What decides the output and is no tensor, by attribute: see ``describe_modules``."""
    return describe_modules(module, [form for path in named_paths(request) for form in _forms(path)])


def configuration_sha256(described: dict[str, str]) -> str:
    """Hex sha256 of what ``configuration`` gave."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def files_sha256(request: EncoderRequest) -> str:
    """Hex sha256 of the files that a spec names; nothing if it names none.

    Behind ``@WEIGHTS`` every byte, of a folder every file in it, and the sidecar beside a file (``FILE.toml``). Of a
    folder after the colon (``hf:FOLDER``) what is no weights, JSON by its values: its weights are hashed as tensors.
    Names in a folder count, where it lies does not.
    """
    digest = hashlib.sha256()
    weights, variant = _existing(request.weights), _existing(request.variant)
    named = False
    if weights is not None:
        for file in _files(weights, "**/*"):
            named = True
            digest.update(f"weights|{_within(file, weights)}|{file_sha256(file)}|".encode())
        if weights.is_file() and sidecar_path(weights).is_file():
            digest.update(f"sidecar|{file_sha256(sidecar_path(weights))}|".encode())
    if variant is not None and variant.is_dir():
        for file in _files(variant, "*"):
            if file.suffix not in WEIGHTS and file.suffix.lower() != ".md":
                named = True
                digest.update(f"folder|{_within(file, variant)}|{_values_sha256(file)}|".encode())
    return digest.hexdigest() if named else NO_FILES


def named_paths(request: EncoderRequest) -> list[str]:
    """What a spec names that is there as a file or a folder, as it was typed."""
    return [text for text in (request.weights, request.variant) if text and _existing(text) is not None]


def count_parameters(module: nn.Module) -> int:
    """Parameters of the image encoder: everything but submodules named ``text_tower``, which images never meet."""
    return sum(p.numel() for name, p in module.named_parameters() if TEXT_TOWER not in name.split("."))


def _existing(text: str | None) -> Path | None:
    path = Path(text).expanduser() if text else None
    return path if path is not None and path.exists() else None


def _files(path: Path, pattern: str) -> list[Path]:
    """The file itself, or those in a folder, hidden ones left out, in the order of their names."""
    if path.is_file():
        return [path]
    files = [file for file in path.glob(pattern) if file.is_file()]
    return sorted(file for file in files if not any(part[0] == "." for part in file.relative_to(path).parts))


def _within(file: Path, path: Path) -> str:
    """A file's name inside the folder that was named; nothing for a file that was named itself."""
    return "" if file == path else file.relative_to(path).as_posix()


def _values_sha256(file: Path) -> str:
    """Of a JSON file its values, so that its layout does not count; of any other its bytes."""
    content = file.read_bytes()
    if file.suffix == ".json":
        with contextlib.suppress(ValueError, RecursionError):
            content = json.dumps(json.loads(content), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _forms(path: str) -> set[str]:
    """The ways in which an encoder may keep a path that it was given."""
    home = Path(path).expanduser()
    forms = {path, str(home), str(home.absolute()), str(home.resolve())}
    return {form for form in forms if set("/\\.") & set(form)}  # a bare word may well be a setting of that name
