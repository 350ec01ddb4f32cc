"""Checkpoints of others, looked at before they are opened: what would fill the memory, or never end, is refused.

torch.load with ``weights_only`` runs no code, but believes sizes: a zip archive may inflate, and a pickle of 2 kB may
hold a list of two lists of two lists ..., which is small in memory until something walks through it (a hash, a
representation). Here the archive's directory and the pickle's instructions are read, and nothing is built.
"""

import os
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

LONGEST_PICKLE = 16 << 20  # bytes; the tensors' numbers lie elsewhere. Of a large model it is 2 MB
MOST_OPERATIONS = 10_000_000
MOST_NODES = 5_000_000  # of all the trees that have to be walked
DEEPEST = 200
MOST_IN_A_NAME = 1000  # nodes of a key, or of what names a storage
LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of storages
FORBIDDEN = ("bytearray",)  # a pickle asks for as many zeros as it likes

Node = list[Any] | str | None  # children, the name of a global, or anything without parts


class BombError(Exception):
    """Why a file is not opened, in words that follow its name."""


def refuse_bombs(path: Path) -> None:
    """Raises BombError if opening a file that torch.save is said to have written could exhaust memory or time.

    Damaged files pass: whoever opens them says what is wrong with them. Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        try:
            if handle.read(4) == b"PK\x03\x04":
                _look_at_archive(handle, size)
            else:
                handle.seek(0)
                budget = _Budget()
                for _ in range(LEGACY_PICKLES):
                    _look_at_pickle(handle, budget)
        except (ValueError, EOFError, IndexError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
            return


def _look_at_archive(handle: IO[bytes], size: int) -> None:
    with zipfile.ZipFile(handle) as archive:
        entries = archive.infolist()
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            return  # TorchScript, which torch.load refuses unread
        declared = sum(entry.file_size for entry in entries)
        if declared > size:
            raise BombError(f"is an archive of {size:,} bytes that would unpack to {declared:,}")
        budget = _Budget()
        for entry in entries:
            if entry.filename.endswith("data.pkl"):
                if entry.file_size > LONGEST_PICKLE:
                    raise BombError(f"has {entry.file_size:,} bytes of pickle beside its tensors")
                with archive.open(entry) as pickle:
                    _look_at_pickle(pickle, budget)


class _Budget:
    """How many nodes may still be walked through, over the whole file."""

    def __init__(self) -> None:
        self.nodes = MOST_NODES

    def walk(self, root: Node, most: int = MOST_NODES) -> None:
        """Go through everything below ``root``, as a hash or a representation would. Raises BombError."""
        waiting: list[tuple[Node, int]] = [(root, 0)]
        seen = 0
        while waiting:
            node, depth = waiting.pop()
            seen, self.nodes = seen + 1, self.nodes - 1
            if seen > most or self.nodes < 0 or depth > DEEPEST:
                raise BombError("holds lists within lists that have no end")
            if isinstance(node, list):
                waiting += [(child, depth + 1) for child in node]


_MARK: Any = object()


def _look_at_pickle(handle: IO[bytes], budget: _Budget) -> None:
    """Follow a pickle's instructions with trees in place of values. Raises BombError, ValueError for a damaged one."""
    stack: list[Any] = []
    memo: dict[int, Node] = {}
    for count, (name, argument, taken, given) in enumerate(_operations(handle)):
        if count > MOST_OPERATIONS:
            raise BombError("is a pickle of too many operations")
        if name == "MARK":
            stack.append(_MARK)
        elif "PUT" in name:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif "GET" in name:
            stack.append(memo[argument])
        elif name in ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD"):
            below, items = _pop(stack, taken)
            if name.startswith("SETITEM"):
                for key in items[::2]:
                    budget.walk(key, MOST_IN_A_NAME)
            elif name == "BUILD":
                budget.walk(items)
            if isinstance(below, list):
                below += items
            stack.append(below)
        elif name in ("REDUCE", "NEWOBJ", "BINPERSID"):
            _call(name, stack, budget)
        elif name in ("GLOBAL", "INST", "STACK_GLOBAL"):  # torch.load knows the first alone, and says so
            _pop(stack, taken, below=0)
            if str(argument).rpartition(" ")[2] in FORBIDDEN:
                raise BombError(f"asks for {argument.replace(' ', '.')}, which weights have no use for")
            stack.append(str(argument))
        elif name == "STOP":
            budget.walk(stack[-1])
        else:
            _, items = _pop(stack, taken, below=0)
            stack += [items if items or name.startswith("EMPTY") else None for _ in range(given)]


def _operations(handle: IO[bytes]) -> Iterator[tuple[str, Any, list[Any], int]]:
    """Name, argument, what is taken from the stack, and how much is put there, of one pickle's instructions."""
    for operation, argument, position in pickletools.genops(handle):
        if (position or 0) > LONGEST_PICKLE:
            raise BombError(f"has more than {LONGEST_PICKLE:,} bytes of pickle beside its tensors")
        yield operation.name, argument, operation.stack_before, len(operation.stack_after)


def _pop(stack: list[Any], taken: list[Any], below: int = 1) -> tuple[Any, list[Any]]:
    """What an operation takes: the object that it changes, if ``below`` is 1, and the items, down to a mark if any."""
    if pickletools.markobject in taken:
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
        items = stack[at + 1 :]
        del stack[at:]
    else:
        number = len(taken) - below
        items = stack[len(stack) - number :] if number else []
        del stack[len(stack) - number :]
    return (stack.pop() if below else None), items


def _call(name: str, stack: list[Any], budget: _Budget) -> None:
    """A call, or a storage asked for by its name: only functions are called, and what they are given is finite."""
    argument = stack.pop()
    budget.walk(argument, MOST_IN_A_NAME if name == "BINPERSID" else MOST_NODES)
    if name == "BINPERSID":
        stack.append(None)
        return
    if not isinstance(stack[-1], str):
        raise BombError("is a pickle that calls what is no function")
    stack[-1] = [argument]
