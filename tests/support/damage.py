"""Random damage to text files: bits, lines, words and, in JSON, values."""

import json
import random
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ODD = [
    "9" * 400,
    "-1e999",
    "1e308",
    "nan",
    "\u202e\ud7ff",
    "\U0001f9b4",
    "\0",
    '"',
    "\r",
    "|",
    "../../x",
    "0x1",
    "",
    "ſ",
    "[" * 3000,
]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randint(1, len(content)) :]


def lines_moved(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    for _ in range(3):
        lines.insert(rng.randrange(len(lines)), lines.pop(rng.randrange(len(lines))))
    return b"\n".join(lines + lines[-rng.randint(1, 3) :])


def words_swapped(content: bytes, rng: random.Random) -> bytes:
    return _tokens(content, rng, None)


def odd_words(content: bytes, rng: random.Random) -> bytes:
    return _tokens(content, rng, ODD)


def _tokens(content: bytes, rng: random.Random, other: list[str] | None) -> bytes:
    """Words (runs of letters and digits) exchanged with each other, or replaced by odd ones."""
    text, kept = content.decode(), set(string.ascii_letters + string.digits + "._-")
    words, start = [], 0
    for place in range(1, len(text) + 1):
        if place == len(text) or (text[place] in kept) != (text[start] in kept):
            words.append(text[start:place])
            start = place
    real = [n for n, word in enumerate(words) if word[0] in kept]
    for _ in range(rng.randint(1, 3)):
        one, two = rng.choice(real), rng.choice(real)
        words[one], words[two] = (words[two], words[one]) if other is None else (rng.choice(other), words[two])
    return "".join(words).encode("utf-8", "surrogatepass")


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [flipped, cut, lines_moved, words_swapped, odd_words]


def value_changed(content: bytes, rng: random.Random, odd: Sequence[Any]) -> bytes:
    """A JSON text with one value, at any depth alike, taken out, given a second time, or replaced by an odd one."""
    whole = json.loads(content)
    of_depth: dict[int, list[tuple[Any, ...]]] = {}
    for place in _places(whole):
        of_depth.setdefault(len(place), []).append(place)
    *above, last = rng.choice(of_depth[rng.choice(sorted(of_depth))])
    node = whole
    for key in above:
        node = node[key]
    how = rng.choice(["odd", "odd", "odd", "without", "twice"])
    if how == "without":
        del node[last]
    elif how == "odd":
        node[last] = rng.choice(odd)
    elif isinstance(node, dict):
        node[rng.choice(["99", "", "x", "\u202e"])] = node[last]
    else:
        node.append(node[last])
    return json.dumps(whole).encode()


def _places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*above, key)
        yield from _places(child, (*above, key))
