"""A user's encoder in a folder: a file with two classes and a function, a helper, a package, settings and weights.

``draw`` makes one, ``RESPECTS`` change it in one respect each, and say which part of its identity that is.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FILE = """
import json
from dataclasses import dataclass
from pathlib import Path
import numpy as np
import torch
from cxrbench.encoder import Features, Preprocess
from helper import pool
from package.inner import scale

SETTINGS = json.loads(Path(__file__).with_name("settings.json").read_text())

@dataclass
class Options:
    heads: int
    ratio: float

class Plain:
    def __init__(self, depth):
        self._depth = depth

def halved(x):
    return x / 2

def doubled(x):
    return x * 2

def caught(value):
    def inner(x):
        return x + value
    return inner

class Mine(torch.nn.Module):
    preprocess = Preprocess(size=SETTINGS["size"], resize="squash", mean=(0.5,), std=(0.5,), channels=1)
    constant = SETTINGS["constant"]

    def __init__(self, weights):
        super().__init__()
        s = SETTINGS
        torch.manual_seed(s["seed"])
        self.weights, self.content = weights, len(Path(weights).read_bytes())
        self.proj = torch.nn.Conv2d(1, 4, 4, 4)
        self.norm = torch.nn.GroupNorm(1, 4, eps=s["eps"])
        self.act = torch.nn.ReLU() if s["act"] else torch.nn.GELU()
        self.register_buffer("shift", torch.tensor(s["shift"]), persistent=False)
        self.mode = s["mode"]
        self.options = Options(4, s["ratio"])
        self.plain = Plain(s["depth"])
        self.nested = {"b": [1, {"deep": s["deep"]}], "a": (None, 2.5)}
        self.order = s["order"]
        self.words = {"first", "second", "third", s["word"]}
        self.table = np.arange(6.0).reshape(2, 3) * s["table"]
        self.hidden = [torch.nn.Linear(2, 2), torch.tensor(s["tensor"])]
        torch.nn.init.constant_(self.hidden[0].weight, s["inside"])
        torch.nn.init.zeros_(self.hidden[0].bias)
        self.function = halved if s["halved"] else doubled
        self.nameless = (lambda x: x + 1) if s["plus"] else (lambda x: x - 1)
        self.closure = caught(s["value"])
        self.step = torch.get_num_threads
        self.log = __import__("logging").getLogger("mine")

    def forward(self, images):
        x = self.act(self.norm(self.proj(images))) + self.shift
        return Features(pool(x) * scale() if self.mode == "mean" else x[:, :, 0, 0])

class Other(Mine):
    def forward(self, images):
        return Features(self.proj(images)[:, :, 0, 0])

def build(weights):
    return Mine(weights)
"""
SOURCE, STATE = "encoder source", "encoder configuration"


@dataclass(frozen=True)
class UserEncoder:
    """What is written: ``settings`` are read by the file when it is imported, and are no part of its source."""

    settings: dict[str, Any]
    name: str = "Mine"
    helper: str = "def pool(x):\n    return x.mean((2, 3))\n"
    package: str = "def scale():\n    return 1.5\n"
    inner: str = "from .. import package\nfrom .deepest import FACTOR\ndef scale():\n    return FACTOR\n"
    weights: bytes = b"weights"
    files: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> str:
        """Write it into ``folder`` and return its spec."""
        (folder / "package").mkdir(parents=True)
        texts = {
            "mine.py": FILE, "settings.json": json.dumps(self.settings), "helper.py": self.helper,
            "package/__init__.py": self.package, "package/inner.py": "from package.deepest import scale\n",
            "package/deepest.py": self.inner, **self.files,
        }  # fmt: skip
        for file, text in texts.items():
            (folder / file).write_text(text)
        (folder / "w.bin").write_bytes(self.weights)
        return f"{folder / 'mine.py'}:{self.name}@{folder / 'w.bin'}"


def draw(rng: random.Random) -> UserEncoder:
    """An encoder with settings of its own."""
    settings = {
        "size": rng.choice([8, 16]), "constant": rng.random(), "seed": rng.randrange(10**6), "act": rng.random() < 0.5,
        "eps": rng.choice([1e-5, 1e-6]), "shift": rng.random(), "mode": rng.choice(["mean", "first"]),
        "ratio": rng.random(), "depth": rng.randrange(100), "deep": rng.random(), "word": f"w{rng.randrange(10**6)}",
        "order": rng.sample(range(100), 4), "table": rng.random(), "tensor": rng.random(), "inside": rng.random(),
        "halved": rng.random() < 0.5, "plus": rng.random() < 0.5, "value": rng.random(),
    }  # fmt: skip
    number = rng.randrange(10**6)
    return UserEncoder(settings, inner=f"import torch\nNUMBER = {number}\ndef scale():\n    return 1.5\n")


def _setting(name: str, change: Callable[[Any], Any]) -> Callable[[UserEncoder, random.Random], UserEncoder]:
    return lambda one, rng: replace(one, settings=one.settings | {name: change(one.settings[name])})


def _more(x: float) -> float:
    return x + 0.125


def _text(name: str, suffix: str) -> Callable[[UserEncoder, random.Random], UserEncoder]:
    return lambda one, rng: replace(one, **{name: f"{getattr(one, name)}{suffix}{rng.randrange(10**6)}\n"})


RESPECTS: dict[str, tuple[Callable[[UserEncoder, random.Random], UserEncoder], set[str]]] = {
    "the other class of the file": (lambda one, rng: replace(one, name="Other"), {"encoder class", STATE}),
    "a function that builds the same class": (lambda one, rng: replace(one, name="build"), {"encoder class"}),
    "the helper": (_text("helper", "# "), {SOURCE}),
    "the package's own file": (_text("package", "# "), {SOURCE}),
    "a module that a module in the package imports": (_text("inner", "# "), {SOURCE}),
    "the bytes of the weights file": (lambda one, rng: replace(one, weights=b"Weights"), {"encoder files"}),
    "parameters": (_setting("seed", lambda x: x + 1), {"encoder weights"}),
    "a buffer that is not saved": (_setting("shift", _more), {"encoder weights"}),
    "preprocessing": (_setting("size", lambda x: 3 * x), {"preprocessing"}),
    "a class attribute": (_setting("constant", _more), {STATE}),
    "an attribute": (_setting("mode", lambda x: {"mean": "first", "first": "mean"}[x]), {STATE}),
    "a setting of torch's own module": (_setting("eps", lambda x: 2 * x), {STATE}),
    "the class of a module without weights": (_setting("act", lambda x: not x), {STATE}),
    "a field of a dataclass": (_setting("ratio", _more), {STATE}),
    "a private attribute of an object": (_setting("depth", lambda x: x + 1), {STATE}),
    "a value deep in a dictionary": (_setting("deep", _more), {STATE}),
    "the order of a list": (_setting("order", lambda x: x[::-1]), {STATE}),
    "a member of a set": (_setting("word", lambda x: f"{x}0"), {STATE}),
    "a NumPy array": (_setting("table", _more), {STATE}),
    "a tensor in a list": (_setting("tensor", _more), {STATE}),
    "a module in a list": (_setting("inside", _more), {STATE}),
    "a function": (_setting("halved", lambda x: not x), {STATE}),
    "a nameless function": (_setting("plus", lambda x: not x), {STATE}),
    "what a function has caught": (_setting("value", _more), {STATE}),
}
