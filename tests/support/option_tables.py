"""The tables of docs/methods.md, as the code has them: in tests/, ``python -m support.option_tables`` prints them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from cxrbench.encoders import mae, spcl, supervised
from cxrbench.encoders.fane import options as fane
from cxrbench.encoders.mvmae import options as mvmae
from cxrbench.encoders.pacx import options as pacx
from cxrbench.encoders.pretraining.method import PretrainingRecipe
from cxrbench.encoders.pretraining.options import OptionSet, typed
from cxrbench.encoders.radjepa import options as radjepa

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
RECIPES: Mapping[str, PretrainingRecipe] = {
    "`spcl`": PretrainingRecipe(),
    "`mae`": mae.RECIPE,
    "`supervised`": supervised.RECIPE,
    "`mvmae`, `mvmae-v2t`": mvmae.RECIPE,
    "`pacx`": pacx.RECIPE,
    "`radjepa`": radjepa.RECIPE,
    **{f"`fane`, {variant}": recipe for variant, recipe in fane.RECIPES.items()},
}


def options_table(options: OptionSet[Any]) -> str:
    """Markdown: every option, what it is, and its value in each variant; empty where it is that of the first."""
    first, *others = options.variants
    defaults = {f.name: f.default for f in fields(options.kind)}
    head = ["option", "what it is", *options.variants]
    rows = [head, ["---"] * len(head)]
    for name in options.declared:
        values = [defaults[name], *(options.variants[v].get(name, defaults[name]) for v in others)]
        texts = [typed(value) for value in values]
        shown = [texts[0], *(text if text != texts[0] else "" for text in texts[1:])]
        if name == "variant":
            shown = [first, *others]
        rows.append([f"`{name}`", options.described(name), *shown])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def recipes_table() -> str:
    """Markdown: what each method is trained with where the user says nothing else."""
    names = [f.name for f in fields(PretrainingRecipe)]
    rows = [["method", *(f"`{name}`" for name in names)], ["---"] * (1 + len(names))]
    for method, recipe in RECIPES.items():
        rows.append([method, *(shown(getattr(recipe, name)) for name in names)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def shown(value: Any) -> str:
    """A setting of a recipe: pairs with a comma, what does not move as a dash."""
    return "-" if value is None else ", ".join(map(typed, value)) if isinstance(value, tuple) else typed(value)


def tables() -> Iterator[tuple[str, str]]:
    """Every table by the marker that stands before it in the document."""
    for name, options in SETS.items():
        yield f"<!-- options of {name} -->", options_table(options)
    yield "<!-- recipes -->", recipes_table()


if __name__ == "__main__":
    for marker, table in tables():
        print(f"{marker}\n{table}\n")
