"""``FILE.toml`` beside weights: what the file itself cannot say, preprocessing and card, in the user's words."""

import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxrbench.encoder import NOTHING, EncoderCard, Preprocess, sidecar_path
from cxrbench.errors import UserError
from cxrbench.files.atomic import atomic_path
from cxrbench.files.toml import toml_value

UNFILLED = "?"
POOLINGS = ("cls", "mean", "mean+sd")
CHOICES = {"resize": ("squash", "crop", "pad"), "interpolation": ("bilinear", "bicubic"), "channels": (1, 3)}
IMAGES = ("size", "resize", "interpolation", "crop_pct", "mean", "std", "channels")
CARD = ("method", "pretrained_on", "licence", "citation", "year", "synthetic")
LARGEST, LARGEST_SIDE = 1.0, 4096  # of a mean or deviation of pixels in [0, 1]; of the side of an image
KEYS = {"size": int, "resize": str, "interpolation": str, "crop_pct": (int, float), "mean": list, "std": list,
        "channels": int, "pooling": str, "method": str, "pretrained_on": list, "licence": str, "citation": str,
        "year": int, "synthetic": bool, "assumed": list}  # fmt: skip


@dataclass(frozen=True)
class WeightsSidecar:
    """What the file beside weights says, by key; nothing where there is none."""

    path: Path
    said: Mapping[str, Any]

    def applied(self, assumed: Preprocess) -> Preprocess:
        """The preprocessing that is assumed, with what was said in its place. UserError where they do not fit."""
        said = {key: tuple(v) if isinstance(v, list) else v for key, v in self.said.items() if key in IMAGES}
        channels = said.get("channels", assumed.channels)
        for key in ("mean", "std"):
            if len(numbers := said.get(key, getattr(assumed, key))) not in (1, channels):
                others = f"{numbers} of {key} are for {len(numbers)} channels"
                raise UserError(f"{self.path}: {channels} channel(s), but {others}: say {key} and channels that fit")
        return replace(assumed, **said)

    def card(self, otherwise: EncoderCard) -> EncoderCard:
        """The card, with what was said in its place; ``pretrained_on = []`` says NOTHING, ``assumed`` adds to it."""
        said = {key: tuple(v) if isinstance(v, list) else v for key, v in self.said.items() if key in CARD}
        if said.get("pretrained_on") == ():
            said["pretrained_on"] = NOTHING
        return replace(otherwise, **said, assumed=(*otherwise.assumed, *self.said.get("assumed", ())))

    @property
    def pooling(self) -> str | None:
        """Which tokens are read: cls, mean or mean+sd; None if it is not said."""
        return self.said.get("pooling")

    def of_one_pooling(self) -> "WeightsSidecar":
        """Itself, beside what is read in one way only. Raises UserError where it says a pooling."""
        if self.pooling is not None:
            raise UserError(f"{self.path}: pooling = {self.pooling!r}, but it is read in one way only: leave that out")
        return self


def read_sidecar(weights: Path) -> WeightsSidecar:
    """What stands beside the weights (in the folder, if they are one). Raises UserError for what cannot be meant."""
    path = sidecar_path(weights)
    if not path.is_file():
        return WeightsSidecar(path, {})
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML ({error}): `cxrbench encoders card` writes one to fill in") from error
    for key, value in said.items():
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}; known: {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or (isinstance(value, bool) and KEYS[key] is not bool):
            raise UserError(f"{path}: {key} = {value!r} is a {type(value).__name__}, not {_kind(key)}")
        if UNFILLED in (value if isinstance(value, list) else [value]):
            raise UserError(f"{path}: {key} is still {UNFILLED!r}: fill it in ({_advice(key)})")
        if value not in CHOICES.get(key, POOLINGS if key == "pooling" else (value,)):
            raise UserError(f"{path}: {key} = {value!r}; choose {_advice(key)}")
    _check_numbers(path, said)
    return WeightsSidecar(path, said)


def refuse_sidecar(weights: Path) -> None:
    """Raise UserError where a file stands beside weights of which all that it could say is known."""
    if (path := sidecar_path(weights)).is_file():
        raise UserError(f"{path} is not read: preprocessing and card of {weights.name} are known without it; delete it")


def _check_numbers(path: Path, said: Mapping[str, Any]) -> None:
    for key in ("mean", "std"):
        values = said.get(key, [1.0])
        if len(values) not in (1, 3) or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            raise UserError(f"{path}: {key} = {values!r}: one number or three, of pixels in [0, 1]")
        if not all(math.isfinite(v) and 0 <= v <= LARGEST for v in values):
            raise UserError(f"{path}: {key} = {values!r} is not of pixels in [0, 1]: divide numbers of 0..255 by 255")
    crop = said.get("crop_pct", 1.0)
    if min(said.get("std", [1.0])) <= 0 or not 1 <= said.get("size", 1) <= LARGEST_SIDE or not 0 < crop <= 1:
        raise UserError(f"{path}: std is above 0, size is 1 to {LARGEST_SIDE}, crop_pct is above 0 and at most 1")
    if len(said.get("mean", [0])) == 3 and said.get("channels") == 1:
        raise UserError(f"{path}: one channel and three means: give one number")
    for key, example in (("pretrained_on", 'names, e.g. ["mimic", "nih"]'), ("assumed", "sentences")):
        if not all(isinstance(text, str) for text in said.get(key, ())):
            raise UserError(f"{path}: {key} is a list of {example}")
    if NOTHING[0] in (seen := said.get("pretrained_on", [])) and len(seen) > 1:
        raise UserError(f"{path}: pretrained_on = {seen!r}: {NOTHING[0]!r} stands alone, or not at all")


def told(sidecar: WeightsSidecar, own: Preprocess, card: EncoderCard, *, known: Collection[str] = ()) -> EncoderCard:
    """The card of weights, with what the sidecar says in its place. A run tells what is in its ``assumed``.

    That is what nobody says of them, and what the sidecar says in place of what is known. ``own``: the preprocessing
    without the sidecar; ``known``: what of it files that came with the weights, or a catalogue, say. The card of a
    published encoder (it has a citation) says what it has seen.
    """
    now = sidecar.applied(own)
    facts = {key: getattr(own, key) for key in IMAGES if key != "crop_pct" or now.resize == "crop"}
    unsaid = [f"{key} {_short(facts[key])}" for key in facts if key not in sidecar.said and key not in known]
    assumed = [f"preprocessing ({', '.join(unsaid)})"] if unsaid else []
    if "pretrained_on" not in sidecar.said and not (card.citation or card.pretrained_on):
        assumed.append("that it has seen no X-rays of the data sets here")
    replaced = sidecar.card(card)
    lines = [*replaced.assumed]
    if assumed:
        lines.append(f"assumed, for nobody says it: {' and '.join(assumed)}; say it in {sidecar.path.name}")
        lines[-1] += "" if known else " (`cxrbench encoders card FILE` writes one to fill in)"
    there = {key: facts[key] for key in known if key in facts} | {"pretrained_on": card.pretrained_on}
    here = {key: getattr(now, key) for key in IMAGES} | {"pretrained_on": replaced.pretrained_on}
    other = [key for key, was in there.items() if _compared(was) not in ((), _compared(here[key]))]
    changes = [f"{key} {_short(here[key])} ({_short(there[key])})" for key in other]
    if changes:
        lines.append(f"{sidecar.path.name} says in place of what is known of these weights: {', '.join(changes)}")
    return replace(replaced, assumed=tuple(lines))


def write_sidecar(weights: Path, preprocess: Preprocess, card: EncoderCard, pooling: str | None) -> Path:
    """Write ``FILE.toml`` to be filled in. Raises UserError if there is one, or if the disk will not."""
    path = sidecar_path(weights)
    if path.exists():
        raise UserError(f"{path} is there already: edit it, or delete it first")
    facts: dict[str, Any] = {key: getattr(preprocess, key) for key in IMAGES}
    lines = [
        f"# What {weights.name} cannot say of itself. It is read with the file, as part of the encoder's identity.",
        "# The values are what is assumed without this file: correct them. mean and std are of pixels in [0, 1].",
        *(f"{key} = {toml_value(value)}{_comment(key)}" for key, value in facts.items()),
        *([f"pooling = {toml_value(pooling)}{_comment('pooling')}"] if pooling else []),
        f"method = {toml_value(card.method)}",
        f'pretrained_on = ["{UNFILLED}"]{_comment("pretrained_on")}',
        f"licence = {toml_value(card.licence)}",
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _kind(key: str) -> str:
    kind = KEYS[key]
    kinds = {int: "a whole number", str: "a text", list: "a list", bool: "true or false"}
    return kinds.get(kind, "a number")  # type: ignore[call-overload]


def _advice(key: str) -> str:
    if key == "pretrained_on":
        return "names of data sets whose images it has seen, e.g. mimic, chexpert, nih; imagenet or nothing, too"
    return " or ".join(map(str, CHOICES.get(key, POOLINGS if key == "pooling" else ("a value",))))


def _comment(key: str) -> str:
    return f"  # {_advice(key)}" if key in (*CHOICES, "pooling", "pretrained_on") else ""


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(v if isinstance(v, str) else f"{v:g}" for v in dict.fromkeys(value))
    return str(value)


def _compared(value: Any) -> Any:
    """One number for equal ones, names in any order."""
    if not isinstance(value, tuple):
        return value
    if any(isinstance(one, str) for one in value):
        return tuple(sorted(set(value)))
    return value[:1] if len(set(value)) == 1 else value
