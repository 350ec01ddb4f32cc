"""What weights lie in: a state dict among other things that a training script has saved, told by its content."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

CONTAINERS = ("state_dict", "model", "module", "encoder", "target_encoder", "teacher", "student", "params_ema", "net")
PREFIXES = ("module.", "_orig_mod.")
SHOWN = 4
DEEPEST = 8
HEAD = 1024  # bytes that say what a file is
log = logging.getLogger(__name__)


def not_weights(path: Path) -> str | None:
    """What a file is that was saved in place of weights, and what to do; None if it may be weights."""
    with open(path, "rb") as handle:
        head = handle.read(HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty: fetch it again"
    if text.startswith(b"version https://git-lfs"):
        return "a git-LFS pointer, not the weights that it points to: run `git lfs pull` where it comes from"
    if text.startswith((b"<!doctype", b"<html", b"<head")):
        return "an HTML page, not weights: its address leads to a page about them, a login or an error; fetch the file"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML page, not weights: the server has sent an error; fetch it again"
    return None


def is_state(value: Any) -> bool:
    """Whether a value is a state dict: a mapping from names to tensors, not empty."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())


def unwrap(content: Mapping[str, Any], keys: Sequence[str] | None = None) -> dict[str, Tensor]:
    """The state dict inside a checkpoint: the content itself, or what lies under one of its keys, however deep.

    Without ``keys`` it is what lies under one of CONTAINERS, or under a key of any name that holds a state dict and is
    the only one. Raises KeyError if there is none, or several of which any may be meant: two of CONTAINERS, or one and
    another with weights of the same names (``state_dict_ema`` beside ``state_dict``). With ``keys`` the caller has
    chosen (an I-JEPA file has ``encoder`` and ``target_encoder``, and they differ): only several of them are too many.
    """
    for _ in range(DEEPEST):
        if is_state(content):
            return dict(content)
        loose = [name for name, value in content.items() if isinstance(value, Tensor)]
        if len(loose) > 1 and not any(holds_tensors(content.get(key)) for key in keys or CONTAINERS):
            raise KeyError(f"{len(loose)} tensors, and beside them what is no tensor: {_others(content)}")
        content = content[_container(content, keys)]
    raise KeyError("weights within containers within containers")


def _container(content: Mapping[str, Any], keys: Sequence[str] | None) -> str:
    """The key under which the weights lie. Raises KeyError."""
    found = [key for key in keys or CONTAINERS if holds_tensors(content.get(key))]
    if keys is None:
        others = [key for key, value in content.items() if key not in found and is_state(_innermost(value))]
        if found:
            names = set(_innermost(content[found[0]]))
            found += [key for key in others if 2 * len(names & set(_innermost(content[key]))) > len(names)]
        else:
            found = others
            if len(found) == 1:
                log.info("its weights lie under %s", found[0])
    if len(found) != 1:
        raise KeyError(f"several sets of weights ({', '.join(found)})" if found else "no weights under a known name")
    return found[0]


def _innermost(value: Any) -> Mapping[str, Tensor]:
    """The state dict that a value is, or has under one of CONTAINERS, prefixes stripped; nothing if it has none."""
    for _ in range(DEEPEST):
        if is_state(value):
            return strip_prefixes(value)
        within = [v for key, v in value.items() if key in CONTAINERS] if isinstance(value, Mapping) else []
        if len(within) != 1:
            return {}
        value = within[0]
    return {}


def holds_tensors(content: Any) -> bool:
    """Whether a value is a mapping that has a tensor at any depth of mappings."""
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping) and id(value) not in seen:
            seen.add(id(value))
            if any(isinstance(v, Tensor) for v in value.values()):
                return True
            waiting += value.values()
    return False


def is_plain(value: Any) -> bool:
    """Whether a value is text, a number, or lists and mappings of such: no tensors, and nothing within itself."""
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping | list | tuple):
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Mapping) and not all(isinstance(key, str) for key in value):
                return False
            waiting += value.values() if isinstance(value, Mapping) else value
        elif not (value is None or isinstance(value, str | int | float | bool)):
            return False
    return True


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


def contents(content: Mapping[str, Any]) -> str:
    """The first keys of a checkpoint, to be shown."""
    return ", ".join(str(key)[:80] for key in list(content)[: 2 * SHOWN]) or "nothing"


def _others(content: Mapping[str, Any]) -> str:
    """The keys of a flat checkpoint that hold no tensors, and what they hold."""
    return listed([f"{key} ({type(v).__name__})" for key, v in content.items() if not isinstance(v, Tensor)])


def in_the_way(own: Iterable[str], state: Mapping[str, Tensor]) -> str:
    """What to do about names that do not match: which prefix, or which part of another network, is in the way."""
    wanted, names = set(own), list(state)
    for prefix in sorted({name[: -len(end)] for end in _some(wanted) for name in names if name.endswith(f".{end}")}):
        fitting = [name for name in names if name.startswith(prefix) and name.removeprefix(prefix) in wanted]
        if len(fitting) == len(names):
            return f'Every name there begins with "{prefix}": save the state dict without it'
        if 2 * len(fitting) > len(wanted):
            return f'{len(fitting)} of its {len(names)} names begin with "{prefix}": save those alone, without it'
    for prefix in sorted({name[: -len(end)] for end in _some(names) for name in wanted if name.endswith(f".{end}")}):
        if 2 * len([name for name in names if prefix + name in wanted]) > len(wanted):
            return f'Its names lack "{prefix}" at their head: save the state dict of the whole network'
    decoder = [name for name in names if "decoder" in name.split(".", 1)[0] and name not in wanted]
    if decoder:
        return f"Its keys are those of a decoder, too ({listed(decoder)}): save the encoder's alone"
    return "Name the architecture that made them"


def _some(names: Iterable[str]) -> list[str]:
    """A few names to look for."""
    return sorted(names, key=lambda name: (-len(name), name))[: 2 * SHOWN]


def listed(names: Sequence[str]) -> str:
    """The first few names, and an ellipsis if there are more."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
