"""Papers' evaluation recipes: the TOML files in ``presets/``, one per paper, read and checked.

A file has ``title``, ``variants``, and a table per protocol (``classification``, ``linear``, ``finetune``,
``segmentation``, ``detection``) with that protocol's settings; ``[[PROTOCOL.when]]`` tables override them for a
``variant``, ``dataset`` or label ``fraction``. ``[[data]]`` tables say how a dataset is split and read
(``presets/data.py``), ``[run]`` which label fractions and how many seeds the paper shows, and on which datasets it
trains together (``merged``). A key that is not in ``KEYS`` is an error, and so is a setting that the protocol cannot
honour: nothing is silently dropped.
"""

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from cxrbench.errors import NotApplicableError, UserError

_NUMBER = (int, float)
TRAINING: Mapping[str, type | tuple[type, ...]] = {
    "note": str,  # goes into the results' notes
    "optimizer": str,  # adamw, adam, sgd
    "learning_rate": _NUMBER,
    "learning_rate_images": int,  # the learning rate is for batches of so many; scaled linearly
    "momentum": _NUMBER,
    "batch_size": int,
    "drop_last": bool,
    "weight_decay": _NUMBER,
    "decay_all": bool,  # biases, norms and tokens are decayed, too
    "epochs": int,
    "warmup_epochs": int,
    "warmup_start": _NUMBER,  # share of the learning rate in the first step or epoch of the warm-up
    "schedule": str,  # cosine, constant
    "step_per": str,  # batch, epoch
    "min_learning_rate": _NUMBER,
    "patience": int,
    "select": str,  # val_loss, last; of classifiers val_auroc, per-label; val_dice, val_map of dense ones
    "select_every": int,
    "augmentation": list,
    "fraction_draw": str,  # patients, images, images-with-positives, stratified, images-stratified
    "fraction_seed": int,
}
CLASSIFIER: Mapping[str, type | tuple[type, ...]] = {
    **TRAINING,
    "batch_of": str,  # images, studies
    "frame": dict,
    "head_init_std": _NUMBER,
    "max_views": int,
    "views": str,  # 1, 2, all, 1of2, 2of2
    "fusion": str,  # logits, scores
}
DENSE: Mapping[str, type | tuple[type, ...]] = {
    **TRAINING,
    "sampling": str,  # all, balanced
    "clip": _NUMBER,
}
KEYS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "classification": {"uses": str},
    "linear": CLASSIFIER,
    "finetune": {**CLASSIFIER, "layer_decay": _NUMBER, "drop_path": _NUMBER},
    "segmentation": {**DENSE, "decoder": str, "loss": str},
    "detection": {**DENSE, "detector": str, "anchors": str, "confidence": _NUMBER, "nms": _NUMBER},
}
CONDITIONS = ("variant", "dataset", "fraction")
DATA_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "dataset": str,
    "protocol": str,
    "variant": str,
    "views": list,  # PA, AP, L, "" (any other)
    "laterals": int,
    "test_part": str,
    "split": dict,
    "unit": str,  # patient, study, image
    "shares_of": str,  # images, studies
    "seed": int,
    "labels": list,
    "uncertain": str,  # negative
    "unknown": str,  # negative
    "min_positives": int,
    "headline": str,  # all
    "top": int,  # a group of so many labels
    "balance_training": bool,
}
DEFAULT_VARIANT = "fixed"


class PresetName(NamedTuple):
    """What ``--preset NAME[:VARIANT]`` means."""

    name: str
    variant: str

    @property
    def suffix(self) -> str:
        """What a protocol's name says of it: ``preset-spcl``, ``preset-spcl-official``."""
        return f"preset-{self.name}" + ("" if self.variant == DEFAULT_VARIANT else f"-{self.variant}")


def names() -> list[str]:
    """Every preset, sorted."""
    folder = files("cxrbench.tasks") / "presets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


@cache
def read(name: str) -> Mapping[str, Any]:
    """A preset's file, checked. Raises UserError for an unknown name."""
    if name not in names():
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(names())}")
    text = (files("cxrbench.tasks") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    return checked(tomllib.loads(text), f"preset {name}")


def parse(text: str) -> PresetName:
    """``spcl`` or ``spcl:official``. Raises UserError for an unknown preset or variant."""
    name, _, variant = text.partition(":")
    variants = read(name)["variants"]
    if (variant or DEFAULT_VARIANT) not in variants:
        raise UserError(f"preset {name} has no variant {variant!r}: choose one of {', '.join(variants)}")
    return PresetName(name, variant or DEFAULT_VARIANT)


def preset_for(name: str, protocol: str, dataset: str = "", fraction: float | None = None) -> Mapping[str, Any]:
    """The settings of a paper's ``protocol`` on ``dataset`` at a label ``fraction``, keys as in ``KEYS``.

    ``name`` may carry a variant (``spcl:official``). An unnamed dataset or fraction meets no override that asks for
    one. Raises UserError for an unknown name, NotApplicableError where the paper has no such protocol.
    """
    preset = parse(name)
    section = read(preset.name).get(protocol)
    if section is None:
        raise NotApplicableError(f"preset {preset.name} has no recipe for {protocol}")
    facts = {"variant": preset.variant, "dataset": dataset, "fraction": fraction}
    settings = {key: value for key, value in section.items() if key != "when"}
    for override in section.get("when", ()):
        if all(override[key] == facts[key] for key in CONDITIONS if key in override):
            settings |= {key: value for key, value in override.items() if key not in CONDITIONS}
    return settings


def data_settings(name: str, protocol: str, dataset: str) -> Mapping[str, Any]:
    """How the paper splits and reads ``dataset`` for ``protocol``: keys as in ``DATA_KEYS``; empty if it says nothing.

    Raises UserError for an unknown name.
    """
    preset = parse(name)
    facts = {"variant": preset.variant, "dataset": dataset, "protocol": protocol}
    settings: dict[str, Any] = {}
    for table in read(preset.name).get("data", ()):
        if all(table[key] == facts[key] for key in facts if key in table):
            settings |= {key: value for key, value in table.items() if key not in facts}
    return settings


def run_settings(name: str) -> tuple[tuple[float, ...] | None, int | None]:
    """The label fractions and the number of seeds that the paper shows; None where it shows one."""
    run = read(parse(name).name).get("run", {})
    fractions = run.get("fractions")
    return (tuple(float(f) for f in fractions) if fractions else None), run.get("seeds")


def merged_sets(name: str) -> tuple[str, ...]:
    """The datasets that the paper trains on together; none where it trains on one at a time."""
    return tuple(read(parse(name).name).get("run", {}).get("merged", ()))


def honour(settings: Mapping[str, Any], known: Collection[str], who: str) -> None:
    """Raise UserError if ``settings`` hold a key that a protocol does not know: nothing is silently dropped."""
    strange = sorted(set(settings) - set(known))
    if strange:
        raise UserError(f"{who} cannot honour {', '.join(strange)} of this preset: run it without --preset")


def checked(table: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The table, if every key in it is known and of its type. Raises UserError that names the first that is not."""
    outer = {"title": str, "variants": list, "run": dict, "data": list, **dict.fromkeys(KEYS, dict)}
    _typed(table, outer, where)
    if DEFAULT_VARIANT not in table["variants"]:
        raise UserError(f"{where}: its variants lack {DEFAULT_VARIANT!r}, the default")
    _typed(table.get("run", {}), {"fractions": list, "seeds": int, "merged": list}, f"{where} [run]")
    for protocol, keys in KEYS.items():
        section = table.get(protocol, {})
        _typed(section, {**keys, "when": list}, f"{where} [{protocol}]")
        for override in section.get("when", ()):
            _typed(
                override, {**keys, "variant": str, "dataset": str, "fraction": _NUMBER}, f"{where} [{protocol}.when]"
            )
            _known_variant(override, table, f"{where} [{protocol}.when]")
    for data in table.get("data", ()):
        _typed(data, DATA_KEYS, f"{where} [data]")
        _known_variant(data, table, f"{where} [data]")
    return table


def _typed(table: Mapping[str, Any], keys: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    for key, value in table.items():
        if key not in keys:
            raise UserError(f"{where}: unknown key {key!r}; known: {', '.join(keys)}")
        if not isinstance(value, keys[key]) or (isinstance(value, bool) and keys[key] is not bool):
            raise UserError(f"{where}: {key} = {value!r} has the wrong type")


def _known_variant(override: Mapping[str, Any], table: Mapping[str, Any], where: str) -> None:
    if override.get("variant", DEFAULT_VARIANT) not in table["variants"]:
        raise UserError(f"{where}: variant {override['variant']!r} is not among {', '.join(table['variants'])}")
