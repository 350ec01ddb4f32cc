"""Reading weights from files without ever running what is in them, and loading them without guessing."""

import argparse
import logging
import pathlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cxrbench.errors import UserError, first_line
from cxrbench.files.atomic import atomic_path, writing
from cxrbench.files.containers import (
    PREFIXES,
    contents,
    in_the_way,
    is_plain,
    listed,
    not_weights,
    strip_prefixes,
    unwrap,
)
from cxrbench.files.names import plain
from cxrbench.files.pickles import BombError, refuse_bombs
from cxrbench.files.seal import BLANK, MARK, check, damage, is_sealed, seal
from cxrbench.files.turns import turn

SEAL = "cxrbench.seal"  # in a safetensors header
AGAIN = "fetch or make it again"
SAVE_ONE = "save one state_dict alone"
SHARED, SPARE = 8, 64 << 20  # how often numbers may be shared by tensors (tied weights, averages), and some bytes
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
    _refuse_what_is_no_weights(path)
    if path.suffix == ".safetensors":
        read_metadata(path)
        with _safetensors(path):
            return dict(load_file(path))
    if is_sealed(path):  # files of others carry no checksum
        check(path, AGAIN)
    try:
        refuse_bombs(path)
        with torch.serialization.safe_globals(PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old pickles and TorchScript; what matters is raised
            content = torch.load(path, map_location="cpu", weights_only=True)
    except BombError as error:
        raise UserError(f"{path} {error}: it was not opened; ask for a file from who trained it") from error
    except Exception as error:  # damaged bytes can fail anywhere in the reader, with any exception
        raise UserError(why_unreadable(path, error)) from error
    if isinstance(content, nn.Module) or not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not a dictionary of weights: save its state_dict()")
    _check_tensors(content, path)
    return dict(content)


def _refuse_what_is_no_weights(path: Path) -> None:
    """Raises UserError for a path without a file, and for a file that came in place of one."""
    if not path.is_file():
        raise UserError(f"no weights file {path}" + (" (it is a folder: name a file in it)" if path.is_dir() else ""))
    if (other := not_weights(path)) is not None:
        raise UserError(f"{path} is {other}")


@contextmanager
def _safetensors(path: Path) -> Iterator[None]:
    """Read a safetensors file in the body; what is wrong with it is a UserError."""
    try:
        yield
    except (safetensors.SafetensorError, OSError, ValueError, MemoryError) as error:
        raise UserError(f"{path} is not a whole safetensors file ({first_line(error)}): fetch it again") from error


def _check_tensors(content: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for tensors that claim to be larger than what the file holds, or that are no plain numbers."""
    claimed, waiting, seen = 0, list[Any](content.values()), set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if value.layout != torch.strided or value.device.type != "cpu":
                kind = value.layout if value.layout != torch.strided else value.device
                raise UserError(f"{path} holds a tensor without plain numbers ({kind}): save its weights dense")
            claimed += value.numel() * value.element_size()
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, Mapping) else value
    if claimed > SHARED * path.stat().st_size + SPARE:
        raise UserError(f"{path} holds {path.stat().st_size:,} bytes, and its tensors claim {claimed:,}: not opened")


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


def read_state_dict(
    path: Path, containers: Sequence[str] | None = None, prefixes: Sequence[str] = PREFIXES
) -> dict[str, Tensor]:
    """Names to tensors (on the CPU, dtypes as stored) of a safetensors file or a torch.save checkpoint.

    Unwraps what training scripts keep weights in, where it is plain which (``containers.unwrap``; ``containers`` names
    the ones that are meant), and strips the prefixes that every name carries (``module.`` of DistributedDataParallel,
    ``_orig_mod.`` of torch.compile). Raises UserError.
    """
    content = read_checkpoint(path)
    try:
        return strip_prefixes(unwrap(content, containers), prefixes)
    except KeyError as error:
        raise UserError(f"{path} has {error.args[0]}; it contains: {contents(content)}; {SAVE_ONE}") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """What a checkpoint says besides its weights: safetensors metadata, or a torch file's plain top-level values."""
    if path.suffix == ".safetensors":
        _refuse_what_is_no_weights(path)
        with _safetensors(path), safetensors.safe_open(path, framework="pt") as handle:
            metadata = dict(handle.metadata() or {})
        if SEAL in metadata or any(MARK.decode() in value for value in metadata.values()):  # a bit of either may flip
            check(path, AGAIN)
        return {name: value for name, value in metadata.items() if name != SEAL}
    return {name: value for name, value in read_checkpoint(path).items() if is_plain(value)}


def write_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Keep weights as safetensors with a checksum, atomically. ``read_checkpoint`` refuses them if a bit has changed.

    Raises UserError if the disk will not.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_path(path) as temporary:
        # Not save_file, whose files nobody but their owner may read.
        temporary.write_bytes(save(stored, metadata={**(metadata or {}), SEAL: BLANK}))
        seal(temporary)


def made_once(path: Path, make: Callable[[], Mapping[str, Tensor]]) -> None:
    """Have the weights that ``make`` gives in ``path``: they are made if they are not there as they were written.

    Two processes may ask at once: one makes them, the other waits. What is whole is not written, nor locked. Raises
    UserError if the disk will not.
    """
    if _whole(path):
        return
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with turn(path.with_name(f"{path.name}.lock"), f"making {path.name}"):
            if not _whole(path):
                write_weights(path, make())


def _whole(path: Path) -> bool:
    return path.is_file() and damage(path) is None


def leave_out(state: Mapping[str, Tensor], prefixes: Sequence[str], path: object) -> dict[str, Tensor]:
    """Drop the weights whose names start with one of ``prefixes`` (heads, decoders), and log which."""
    dropped = [name for name in state if name.startswith(tuple(prefixes))]
    if dropped:
        log.info("%s: left out %d weights that an encoder does not use: %s", path, len(dropped), listed(dropped))
    return {name: value for name, value in state.items() if name not in set(dropped)}


def load_strict(module: nn.Module, state: Mapping[str, Tensor], path: object) -> None:
    """Copy ``state`` into ``module``; every name must match, in both directions, and every shape.

    Raises UserError, one line with the first few names of each kind of mismatch and their counts, and what seems to be
    in the way (a prefix, a decoder); the module is then unchanged. Whole numbers are no weights: they were quantized,
    and what they stand for is elsewhere. Nor are NaN and infinity, but in a buffer in which the module has
    them itself (a mask). Batch-norm step counters, which inference never reads and old files lack, may be missing.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    reshaped = [
        f"{name} is {list(state[name].shape)} there and {list(own[name].shape)} here"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    rounded = [
        f"{name} is {state[name].dtype}"
        for name, tensor in own.items()
        if name in state and tensor.is_floating_point() and not state[name].is_floating_point()
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped, "no plain floats": rounded}
    problems = [f"{len(names)} {what}: {listed(names)}" for what, names in kinds.items() if names]
    if problems:
        kind, hint = type(module).__name__, in_the_way(own, state)
        if problems == problems[-1:] and rounded:
            hint = "They were quantized, or are of another network: pass the floats that they were made of"
        raise UserError(f"weights in {path} do not fit {kind}: {'; '.join(problems)}. {hint}")
    masks = {name for name, buffer in module.named_buffers() if not _is_finite(buffer)}
    refuse_infinite(((name, state[name]) for name in own if name in state and name not in masks), path)
    module.load_state_dict(dict(state), strict=True)


def refuse_infinite(weights: Iterable[tuple[str, Tensor]], path: object) -> None:
    """Raises UserError with the file and the first tensor in which a float of ``weights`` is NaN or infinite."""
    for name, tensor in weights:
        if not _is_finite(tensor):
            raise UserError(f"{path} holds NaN or infinity, first in {plain(name)}: fetch or train it again")


def _is_finite(tensor: Tensor) -> bool:
    """Whether a tensor of floats holds numbers alone. Its extremes tell: eight times as fast as ``isfinite``."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    plain_floats = tensor.detach() if tensor.element_size() > 1 else tensor.detach().float()
    return all(bool(extreme.isfinite()) for extreme in torch.aminmax(plain_floats))
