"""Reading weights from files without ever running what is in them, and loading them without guessing."""

import argparse
import logging
import pathlib
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cxrbench.errors import UserError

CONTAINERS = ("state_dict", "model", "module", "encoder", "target_encoder", "teacher", "student", "params_ema", "net")
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 4
log = logging.getLogger(__name__)

# Plain data that training scripts store beside the weights: their arguments, a path, a NumPy number. Building these
# runs no code of the checkpoint's author.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
PLAIN = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    (NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The file's content as it is: safetensors, or anything that torch.save wrote, nested or not; on the CPU.

    Raises UserError if the file is missing, damaged, no checkpoint, or a pickle with code in it, which is never run.
    """
    if not path.is_file():
        raise UserError(f"no weights file {path}" + (" (it is a folder: name a file in it)" if path.is_dir() else ""))
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} is not a whole safetensors file ({first_line(error)}): fetch it again") from error
    try:
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old pickles and TorchScript; what matters is raised
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can fail anywhere in the reader, with any exception
        raise UserError(why_unreadable(path, error)) from error
    if isinstance(content, nn.Module) or not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights: save its state_dict()")
    return dict(content)


def why_unreadable(path: Path, error: Exception) -> str:
    """One line for a file that torch.load refused: code inside, TorchScript, or damage."""
    text = str(error)
    convert = "convert it on a machine that you can lose: torch.load it there and save its state_dict as safetensors"
    if "TorchScript" in text:
        return f"{path} is a TorchScript program, not plain weights; it was not run; {convert}"
    code = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"(?:Trying to|Can only) (.{1,80})", text)
    if code:
        return f"{path} is a pickle that wants to run code ({code.group(1)}); it was not run; {convert}"
    if "WeightsUnpickler" in text or "Unsupported operand" in text:
        return f"{path} is a damaged checkpoint, or a pickle that torch.save did not write; it was not run; {convert}"
    return f"{path} is not a whole PyTorch checkpoint ({type(error).__name__}: {first_line(error)}): fetch it again"


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 160 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__


def is_state(value: Any) -> bool:
    """Whether a value is a state dict: a mapping from names to tensors, not empty."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def unwrap(content: Mapping[str, Any], keys: Sequence[str] = CONTAINERS) -> dict[str, Tensor]:
    """The state dict inside a checkpoint: the content itself, or what lies under one of ``keys``, however deep.

    Raises KeyError if there is none, or if several of ``keys`` hold one: then the caller must say which (an I-JEPA file
    has ``encoder`` and ``target_encoder``, and they differ).
    """
    if is_state(content):
        return dict(content)
    found = [key for key in keys if isinstance(content.get(key), Mapping) and holds_tensors(content[key])]
    if len(found) != 1:
        raise KeyError(f"several sets of weights ({', '.join(found)})" if found else "no weights under a known name")
    return unwrap(content[found[0]], keys)


def holds_tensors(content: Mapping[str, Any]) -> bool:
    """Whether any value, at any depth of mappings, is a tensor."""
    values = content.values()
    return any(isinstance(v, Tensor) or (isinstance(v, Mapping) and holds_tensors(v)) for v in values)


def strip_prefixes(state: Mapping[str, Tensor], prefixes: Iterable[str] = PREFIXES) -> dict[str, Tensor]:
    """Remove each prefix, repeatedly, as long as every name carries it."""
    names = dict(state)
    stripping = True
    while stripping and names:
        stripping = False
        for prefix in prefixes:
            if all(name.startswith(prefix) and name != prefix for name in names):
                names = {name.removeprefix(prefix): value for name, value in names.items()}
                stripping = True
    return names


def read_state_dict(
    path: Path, containers: Sequence[str] = CONTAINERS, prefixes: Sequence[str] = PREFIXES
) -> dict[str, Tensor]:
    """Names to tensors (on the CPU, dtypes as stored) of a safetensors file or a torch.save checkpoint.

    Unwraps the containers in which training scripts keep weights where exactly one is there, and strips the prefixes
    that every name carries (``module.`` of DistributedDataParallel, ``_orig_mod.`` of torch.compile). Raises UserError.
    """
    content = read_checkpoint(path)
    try:
        return strip_prefixes(unwrap(content, containers), prefixes)
    except KeyError as error:
        has = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise UserError(f"{path} has {error.args[0]}; it contains: {has}; save one state_dict alone") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """What a checkpoint says besides its weights: safetensors metadata, or a torch file's plain top-level values."""
    if path.suffix == ".safetensors" and path.is_file():
        try:
            with safetensors.safe_open(path, framework="pt") as handle:
                return dict(handle.metadata() or {})
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{path} is not a whole safetensors file ({first_line(error)}): fetch it again") from error
    return {name: value for name, value in read_checkpoint(path).items() if is_plain(value)}


def is_plain(value: Any) -> bool:
    """Whether a value is text, a number, or lists and mappings of such: no tensors."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(v) for key, v in value.items())
    if isinstance(value, list | tuple):
        return all(is_plain(v) for v in value)
    return value is None or isinstance(value, str | int | float | bool)


def leave_out(state: Mapping[str, Tensor], prefixes: Sequence[str], path: object) -> dict[str, Tensor]:
    """Drop the weights whose names start with one of ``prefixes`` (heads, decoders), and log which."""
    dropped = [name for name in state if name.startswith(tuple(prefixes))]
    if dropped:
        log.info("%s: left out %d weights that an encoder does not use: %s", path, len(dropped), listed(dropped))
    return {name: value for name, value in state.items() if name not in set(dropped)}


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: object) -> None:
    """Copy ``state`` into ``module``; every name must match, in both directions, and every shape.

    Raises UserError, one line with the first few names of each kind of mismatch and their counts; the module is then
    unchanged. Batch-norm step counters, which inference never reads and old files lack, may be missing.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} is {list(state[name].shape)} there and {list(own[name].shape)} here"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what}: {listed(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if problems:
        kind = type(module).__name__
        raise UserError(
            f"weights in {path} do not fit {kind}: {'; '.join(problems)}. Name the architecture that made them"
        )
    module.load_state_dict(dict(state), strict=True)


def listed(names: Sequence[str]) -> str:
    """The first few names, and an ellipsis if there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
