"""What decides an encoder's output and is no tensor: plain attributes of its modules, described for hashing.

A description is the same in every process, for every hash seed and number of threads: mappings and sets are sorted,
objects are described by their class and attributes, and what has no stable description (a lock, a logger, an open file)
by its type alone. Torch's own bookkeeping (hooks, the training flag) is left out, and
so is the device.
"""

import argparse
import functools
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from hashlib import sha256
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrbench.plugins.sources import file_of, is_library, qualified_name

INTERNAL = frozenset(vars(nn.Module()))
APART = frozenset({"preprocess", "card"})  # of the encoder itself: a part of the identity of its own, and none at all
MACHINE = frozenset({"device", "_device"})  # where it is computed, which is no part of the identity
DEEPEST = 40  # containers in containers; beyond it the type says enough
LONGEST = 200  # characters of a description; a longer one is replaced by its hash
TEXTS = (complex, Decimal, Fraction, date, time, timedelta, torch.dtype, torch.Size, np.dtype)
NAMESPACES = (argparse.Namespace, types.SimpleNamespace)
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


def describe_modules(module: nn.Module, hidden: Sequence[str] = ()) -> dict[str, str]:
    """By ``path.to.attribute`` the description of every non-tensor attribute of a module and its submodules.

    Every module's class is among them, and what a user's own classes set for all their objects. ``hidden``: paths that
    were named on the command line, which do not count wherever a text ends in one; the bytes behind them do.
    """
    seen = _Describer(tuple(sorted(hidden, key=len, reverse=True)))
    found: dict[str, str] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        place = f"{name}." if name else ""
        found[f"{place}class"] = qualified_name(type(part))
        for attribute, value in seen.attributes(part):
            if attribute not in INTERNAL | MACHINE and (name or attribute not in APART):
                found[f"{place}{attribute}"] = seen.describe(value)
        for cls in type(part).__mro__:
            for attribute, value in _constants(cls):
                if name or attribute not in APART:
                    found.setdefault(f"{place}{attribute} of the class", seen.describe(value))
    return found


def _constants(cls: type) -> Iterator[tuple[str, Any]]:
    """What a user's own class sets for all its objects, methods and the like left out: its file has them."""
    if _of_library(cls):
        return
    for name, value in vars(cls).items():
        if not name.startswith("__") and not callable(value) and not hasattr(value, "__get__"):
            yield name, value


@functools.cache
def _of_library(cls: type) -> bool:
    """Whether a class is a library's, or has no file at all."""
    source = file_of(cls)
    return is_library(source.path) if source is not None else cls.__module__ != "__main__"


class _Describer:
    """Describes values; what it is at work on is kept, so that a circle ends."""

    def __init__(self, hidden: Sequence[str]) -> None:
        self.hidden = hidden
        self.open: list[int] = []

    def attributes(self, value: Any) -> list[tuple[str, Any]]:
        """An object's own attributes; of a library's objects those without a leading underscore."""
        slots = [slot for cls in type(value).__mro__ for slot in _names(getattr(cls, "__slots__", ()))]
        found = {name: getattr(value, name) for name in slots if name != "__dict__" and hasattr(value, name)}
        found |= getattr(value, "__dict__", {})
        private = not _of_library(type(value))
        return [(name, v) for name, v in found.items() if isinstance(name, str) and (private or name[:1] != "_")]

    def describe(self, value: Any) -> str:
        """A text that is equal for equal values."""
        if id(value) in self.open or len(self.open) > DEEPEST:
            return f"({qualified_name(type(value))})"
        self.open.append(id(value))
        try:
            text = self._text(value)
        except Exception:  # whatever somebody's own class does when it is looked at
            text = f"({qualified_name(type(value))})"
        finally:
            self.open.pop()
        return text if len(text) <= LONGEST else sha256(text.encode()).hexdigest()

    def _text(self, value: Any) -> str:
        kind = qualified_name(type(value))
        match value:
            case None | bool() | int() | float() if type(value) in (type(None), bool, int, float):
                return repr(value)
            case Enum():
                return f"{kind}.{value.name}"
            case str() | PurePath():
                return repr(self._without_path(str(value)))
            case bytes() | bytearray():
                return f"{kind} {sha256(value).hexdigest()}"
            case Tensor():
                return _tensor(value)
            case np.ndarray():
                return self._array(value)
            case np.generic():
                return f"{kind} {value!r}"
            case re.Pattern():
                return f"{kind} {value.pattern!r} {value.flags}"
            case range() | slice():
                return repr(value)
            case type():
                return qualified_name(value)
            case types.ModuleType():
                return f"module {value.__name__}"
            case types.MethodType():
                bound = "" if isinstance(value.__self__, nn.Module) else self.describe(value.__self__)
                return f"method {self._function(value.__func__)} {bound}"
            case functools.partial():
                return f"partial {self.describe(value.func)}{self.describe(value.args)}{self.describe(value.keywords)}"
            case nn.Module():
                return self._module(value)
            case Mapping() | MappingProxyType():
                items = sorted(f"{self.describe(key)}: {self.describe(v)}" for key, v in value.items())
                return f"{kind} {{{', '.join(items)}}}"
            case list() | tuple():
                return f"{kind} [{', '.join(map(self.describe, value))}]"
            case set() | frozenset():
                return f"{kind} {{{', '.join(sorted(map(self.describe, value)))}}}"
            case _ if isinstance(value, TEXTS):
                return f"{kind} {value}"
            case _ if isinstance(value, FUNCTIONS):
                return f"function {self._function(value)}"
        return self._object(value)

    def _object(self, value: Any) -> str:
        """A dataclass by its fields; any other object by its attributes, if it is of no kind that changes by itself."""
        kind = type(value)
        if is_dataclass(value):
            attributes = [(entry.name, getattr(value, entry.name, None)) for entry in fields(value)]
        elif kind.__module__.partition(".")[0] != "torch" and (not _is_builtin(kind) or isinstance(value, NAMESPACES)):
            attributes = self.attributes(value)
        else:
            attributes = []
        inner = sorted(f"{name}={self.describe(v)}" for name, v in attributes)
        number = value if isinstance(value, (int, float)) else ""
        return f"({qualified_name(kind)} {number}{', '.join(inner)})"

    def _module(self, module: nn.Module) -> str:
        """A module that hangs on an attribute or in a list, so that torch does not know of it."""
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        weights = sorted(f"{name}={_tensor(tensor)}" for name, tensor in tensors.items())
        parts = [
            f"{name}.{attribute}={self.describe(value)}"
            for name, part in module.named_modules()
            for attribute, value in [("class", type(part)), *self.attributes(part)]
            if attribute not in INTERNAL
        ]
        return f"module {sha256('|'.join([*weights, *sorted(parts)]).encode()).hexdigest()}"

    def _function(self, function: Any) -> str:
        """Its qualified name, which its file gives a meaning, and what it has caught; of a nameless one its code."""
        caught = [getattr(cell, "cell_contents", None) for cell in getattr(function, "__closure__", None) or ()]
        given = (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
        name = qualified_name(function)
        code = code_digest(function.__code__) if "<" in name and hasattr(function, "__code__") else ""
        owner = getattr(function, "__self__", None)
        bound = "" if owner is None or isinstance(owner, types.ModuleType) else qualified_name(type(owner))
        return f"{name} {code} {bound} {self.describe(caught)} {self.describe(given)}"

    def _array(self, array: Any) -> str:
        if array.dtype.hasobject:
            return f"array {array.shape} {self.describe(array.ravel().tolist())}"
        return f"array {array.dtype.str} {array.shape} {sha256(np.ascontiguousarray(array).tobytes()).hexdigest()}"

    def _without_path(self, text: str) -> str:
        """The text without a path that was named on the command line, at its end."""
        for path in self.hidden:
            if text.endswith(path):
                return f"{text.removesuffix(path)}@"
        return text


def _names(slots: Any) -> Sequence[str]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_builtin(kind: type) -> bool:
    """Whether a type is Python's own (locks, loggers, files, iterators): their attributes are not the user's."""
    source = file_of(kind)
    return source is None or (is_library(source.path) and "site-packages" not in str(source.path))


def _tensor(tensor: Tensor) -> str:
    facts = f"tensor {tensor.dtype} {list(tensor.shape)}"
    if tensor.is_meta:
        return facts
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{facts} {sha256(values.data).hexdigest()}"


def code_digest(code: types.CodeType) -> str:
    """Of a lambda or a function in a function: what it does, whatever the line that it stands in."""
    constants = [code_digest(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    whole = "|".join([code.co_code.hex(), *constants, *code.co_names, *code.co_varnames, *code.co_freevars])
    return sha256(whole.encode()).hexdigest()
