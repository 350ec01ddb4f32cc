"""The tables of docs/methods.md, as the code has them: in tests/, ``python -m support.option_tables`` prints them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from cxrbench.encoders import mae, spcl, supervised
from cxrbench.encoders.fane import options as fane
from cxrbench.encoders.mvmae import options as mvmae
from cxrbench.encoders.pacx import options as pacx
from cxrbench.encoders.pretraining.engine.recipe_lines import read_constants
from cxrbench.encoders.pretraining.options import OptionSet, typed
from cxrbench.encoders.pretraining.recipe import WORDS, PretrainingRecipe
from cxrbench.encoders.radjepa import options as radjepa
from cxrbench.plugins.entry_points import METHODS, load_plugin

SETS: Mapping[str, OptionSet[Any]] = {
    "spcl": spcl.OPTIONS,
    "mae": mae.OPTIONS,
    "supervised": supervised.OPTIONS,
    "mvmae": mvmae.OPTIONS,
    "mvmae-v2t": mvmae.V2T_OPTIONS,
    "pacx": pacx.OPTIONS,
    "radjepa": radjepa.OPTIONS,
    "fane": fane.OPTIONS,
}
CONSTANT = ("eps", "selection")  # said in words, because they are the same everywhere


def constants_table(method: str) -> str:
    """Markdown: the numbers that no option sets, by recipe; a dash where nothing reads them, empty: as in the first."""
    whole = load_plugin(METHODS, method, "method")
    told, names = [], []
    for name, recipe in whole.recipes.items():
        blueprint = whole.configure(recipe.arch, {"variant": name})
        told.append(read_constants(whole, blueprint))
        names = list(whole.constants(blueprint.backbone, blueprint.options))
    rows = [["constant", *whole.recipes]]
    for name in names:
        first, *others = [shown(each[name]) if name in each else "-" for each in told]
        rows.append([f"`{name}`", first, *("" if other == first else other for other in others)])
    return table(rows)


def recipes(method: str) -> Mapping[str, PretrainingRecipe]:
    """Of a method, by name."""
    return load_plugin(METHODS, method, "method").recipes


def table(rows: list[list[str]]) -> str:
    """Markdown, the first row being the head."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def options_table(options: OptionSet[Any]) -> str:
    """Markdown: every option, what it is, and its value in each variant; empty where it is that of the first."""
    _, *others = options.variants
    defaults = {f.name: f.default for f in fields(options.kind)}
    rows = [["option", "what it is", *options.variants]]
    for name in options.declared:
        values = [defaults[name], *(options.variants[v].get(name, defaults[name]) for v in others)]
        texts = [typed(value) for value in values]
        shown = [texts[0], *(text if text != texts[0] else "" for text in texts[1:])]
        rows.append([f"`{name}`", options.described(name), *shown])
    return table(rows)


def recipes_table() -> str:
    """Markdown: what each method is trained with in each recipe."""
    names = [f.name for f in fields(PretrainingRecipe) if f.name not in (*WORDS, *CONSTANT)]
    rows = [["recipe", *(f"`{name}`" for name in names)]]
    for method in SETS:
        for name, recipe in recipes(method).items():
            rows.append([f"`{method}` {name}", *(shown(getattr(recipe, number)) for number in names)])
    return table(rows)


def sources_list(method: str) -> str:
    """Markdown: of each recipe of a method its sources, and what is from each."""
    lines = []
    for name, recipe in recipes(method).items():
        by_source: dict[str, list[str]] = defaultdict(list)
        for number, source in recipe.sources.items():
            by_source[source].append(f"`{number}`")
        for dataset, chosen in recipe.data.items():
            by_source[chosen.source].append(f"images of `{dataset}`")
        lines.append(f"* **{name}**: " + "; ".join(f"{', '.join(of)} ({source})" for source, of in by_source.items()))
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A setting of a recipe: pairs with a comma, what does not move as a dash."""
    return "-" if value is None else ", ".join(map(typed, value)) if isinstance(value, tuple) else typed(value)


def tables() -> Iterator[tuple[str, str]]:
    """Every table by the marker that stands before it in the document."""
    for name, options in SETS.items():
        yield f"<!-- options of {name} -->", options_table(options)
        yield f"<!-- constants of {name} -->", constants_table(name)
        yield f"<!-- sources of {name} -->", sources_list(name)
    yield "<!-- recipes -->", recipes_table()


if __name__ == "__main__":
    for marker, text in tables():
        print(f"{marker}\n{text}\n")
