"""A recipe to read before it is trained: every number, its value, and where it comes from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, NamedTuple

from cxrbench.data.subsets.selection import Selection
from cxrbench.encoders.pretraining.engine.beginning import check_init, fitted_to_file
from cxrbench.encoders.pretraining.engine.plan import (
    PretrainConfig,
    check_compared,
    check_is_read,
    check_settings,
    chosen_decode_size,
    chosen_recipe,
    given_numbers,
    note_on_processes,
    notes_on,
    read_method,
)
from cxrbench.encoders.pretraining.initial import RANDOM, UNCOMPARED
from cxrbench.encoders.pretraining.method import Blueprint, Method
from cxrbench.encoders.pretraining.options import DECLARED, typed
from cxrbench.encoders.pretraining.recipe import ChosenImages, PretrainingRecipe

FOLLOWS = "follows from"
UNREAD = "not read: only where"
UNCITED = "no source is given"
SILENT = "not stated: as in fixed; "
PAPERS = re.compile(r"[\w-]+ (§|eq\. |A\.\d|Table )")
CODES = re.compile(r"[\w-]+:\S")
"""How a source begins that is a paper's section, or a file of a public code."""


class RecipeLine(NamedTuple):
    """``name``: of a number of the recipe, of an option of the method, or of what follows from them.

    ``constant``: it is a number of the method's code, which no flag and no option sets.
    """

    name: str
    value: str
    source: str
    constant: bool = False


def recipe_lines(config: PretrainConfig) -> tuple[list[RecipeLine], list[str]]:
    """Every number of a training as ``config`` has it, and what there is to say of those given. Raises UserError.

    What the user gave is marked, and says what the recipe has in its place; an option that nothing reads has no value.
    No data are read, and of weights to begin from a file alone.
    """
    method = read_method(config)
    standard, recipe = method.recipes.get(config.recipe), chosen_recipe(config, method)
    assert standard is not None
    check_settings(config, recipe)
    blueprint = method.configure(recipe.arch, {**config.options, "variant": config.recipe})
    check_init(config, blueprint)
    check_is_read(config, method, blueprint)
    check_compared(config, recipe, blueprint)
    fitted = fitted_to_file(config, blueprint)
    known, blueprint = blueprint.base is None or fitted is not blueprint, fitted
    lines: list[RecipeLine] = []
    given = given_numbers(config)
    for name, value in recipe.numbers().items():
        source = standard.sources.get(name, UNCITED)
        lines.append(RecipeLine(name, written(value), replaced(getattr(standard, name)) if name in given else source))
        lines += following(name, recipe, blueprint, known)
        if name == "arch":
            lines += [decoded(config, blueprint), begun(config, blueprint)]
    lines += [RecipeLine(f"images of {name}", of(chosen), chosen.source) for name, chosen in recipe.data.items()]
    usual = method.configure(recipe.arch, {"variant": config.recipe}) if config.options else blueprint
    sources = all_sources(method, config.recipe)
    before, unread = shown_options(method, usual), dict(unread_options(blueprint.options, recipe.arch))
    for name, value in shown_options(method, blueprint).items():
        source = replaced(before[name]) if name in config.options else sources.get(name, UNCITED)
        if name in unread:
            value, source = "-", f"{UNREAD} {unread[name]}"
        lines.append(RecipeLine(name, value, source))
    for name, value in read_constants(method, blueprint, config.init).items():
        lines.append(RecipeLine(name, written(value), sources.get(name, UNCITED), constant=True))
    return lines, [*notes_on(config, recipe), *note_on_processes(config, recipe, blueprint)]


def read_constants(method: Method, blueprint: Blueprint, init: str = "") -> dict[str, Any]:
    """The method's constants that something reads, by name; ``init``: as of ``PretrainConfig``."""
    source = blueprint.source_weights
    begun = (init or (source.spec if source else "")) not in ("", RANDOM)
    constants = method.constants(blueprint.backbone, blueprint.options).items()
    return {name: one.value for name, one in constants if one.read and not (begun and one.replaced)}


def all_sources(method: Method, name: str) -> dict[str, str]:
    """Of a recipe's numbers, options and constants: its own, and those of the first that hold for it, too.

    What ``paper`` or ``official`` does not name is as in ``fixed``; unless the source is the paper, or the public code
    of ``official``, it does not say so.
    """
    first, standard = next(iter(method.recipes)), method.recipes[name]
    if name == first:
        return dict(standard.sources)
    says = re.compile(f"{PAPERS.pattern}|{CODES.pattern}") if name == "official" else PAPERS
    inherited = method.recipes[first].sources.items()
    return {one: text if says.match(text) else f"{SILENT}{text}" for one, text in inherited} | dict(standard.sources)


def shown_options(method: Method, blueprint: Blueprint) -> dict[str, str]:
    """The options as they are written; where a value stands for another, the one that is meant."""
    written_ones = {name: written(value) for name, value in as_mapping(blueprint.options).items()}
    return written_ones | dict(method.meant(blueprint.backbone, blueprint.options))


def unread_options(options: Any, arch: str) -> Iterator[tuple[str, str]]:
    """Options that nothing reads as the others and the architecture are, and in words where they are read."""
    for field in fields(options) if is_dataclass(options) else ():
        declared = field.metadata.get(DECLARED)
        if declared and (where := declared.unread(options, arch)):
            yield field.name, where


def of(chosen: ChosenImages) -> str:
    """What a selection says beyond taking a dataset as its reader gives it."""
    usual = as_mapping(Selection())
    said = {name: value for name, value in as_mapping(chosen.selection).items() if value != usual[name]}
    return ", ".join(f"{name} {_pairs(value)}" for name, value in said.items())


def _pairs(value: Any) -> str:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return "/".join(f"{name} {share:g}" for name, share in pairs) or written(value)


def following(name: str, recipe: PretrainingRecipe, blueprint: Blueprint, known: bool) -> list[RecipeLine]:
    """What follows from a number, behind it: shape and images, the peak learning rate, epochs of warm-up.

    ``known``: not where channels and images are those of weights to begin from that nobody has given.
    """
    if name == "arch":
        shape, options = as_mapping(blueprint.backbone), as_mapping(blueprint.options)
        parts = {f"backbone {part}" if part in options else part: value for part, value in shape.items()}
        image = blueprint.preprocess
        resized = f"{image.resize} {image.crop_pct:g}" if image.crop_pct != 1 else image.resize
        moments = f"mean {written(image.mean)}, std {written(image.std)}"
        text = f"{image.channels} x {image.size} px, {resized}, {image.interpolation}, {moments}"
        lines = []
        for part, value in (*parts.items(), ("image", text)):
            base = blueprint.base if part in (*UNCOMPARED, "image") else None
            told = written(value) if base is None or known else f"the {base.name}'s"
            lines.append(RecipeLine(part, told, f"{FOLLOWS} {'--init' if base else 'arch and the options'}"))
        return lines
    if name == "lr_rule":
        return [RecipeLine("peak lr", f"{recipe.peak:.6g}", f"{FOLLOWS} lr, lr_rule, batch_size and accumulate")]
    if name == "horizon":
        epochs = recipe.warmup * recipe.horizon * recipe.epochs
        return [RecipeLine("warm-up epochs", f"{epochs:.6g}", f"{FOLLOWS} warmup, horizon and epochs")]
    return []


def decoded(config: PretrainConfig, blueprint: Blueprint) -> RecipeLine:
    """The side at which images are decoded."""
    side = chosen_decode_size(config, blueprint)
    usual = blueprint.decode_size or blueprint.preprocess.size
    source = blueprint.decode_source if blueprint.decode_size else f"{FOLLOWS} arch and the options"
    return RecipeLine("decode_size", written(side), source if config.decode_size is None else replaced(usual))


def begun(config: PretrainConfig, blueprint: Blueprint) -> RecipeLine:
    """The weights that training begins from."""
    source = blueprint.source_weights
    usual = (source.spec or RANDOM) if source else RANDOM
    ours = config.recipe == "fixed"
    why = "ours: nothing is learnt before" if ours else f"{FOLLOWS} the recipe: its source names no other weights"
    why = f"{source.cited}: {source.words}" if source else why
    if (base := blueprint.base) is not None:
        shipped = f" but on {base.usual_on}, where it is the shipped one" if base.usual_on else ""
        usual, why = "", f"{base.cited}: an {base.name}, to be given (--init FILE){shipped}"
    return RecipeLine("init", config.init or written(usual), replaced(usual) if config.init else why)


def replaced(standard: Any) -> str:
    """The source of a number that the user gave."""
    return f"given; the recipe has {written(standard)}"


def as_mapping(values: Any) -> Mapping[str, Any]:
    """A dataclass by field, without the name of the variant."""
    whole = asdict(values) if is_dataclass(values) and not isinstance(values, type) else {}
    return {name: value for name, value in whole.items() if name != "variant"}


def written(value: Any) -> str:
    """A number as a user would type it; pairs with a comma, what there is none of as a dash."""
    if value is None or value == "":
        return "-"
    return ",".join(map(typed, value)) if isinstance(value, tuple | list) else typed(value)
