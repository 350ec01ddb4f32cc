"""Training images in, an encoder out: names first, then the data, whom to leave out, and the start."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args, get_origin, get_type_hints

from cxrbench.api.data import load_dataset
from cxrbench.api.given import by_name
from cxrbench.arguments import check_type
from cxrbench.errors import OnBadImage, UserError, chosen
from cxrbench.files.folders import cache_folder, data_folder
from cxrbench.plugins.entry_points import METHODS, only_point, unknown
from cxrbench.progress import Bar, unseen

if TYPE_CHECKING:
    from cxrbench.data.manifest import Manifest
    from cxrbench.encoders.pretraining.engine.recipe_lines import RecipeLine
    from cxrbench.encoders.pretraining.recipe import PretrainingRecipe

log = logging.getLogger(__name__)


class PretrainSettings(TypedDict, total=False):
    """What may be said of pretraining beside method and data; ``PretrainConfig`` explains it, ``PretrainingRecipe``
    what is the recipe's where it is None or not said.
    """

    recipe: str
    arch: str | None
    epochs: int | None
    batch_size: int | None
    accumulate: int | None
    lr: float | None
    lr_rule: Literal["absolute", "per-256"] | None
    start_lr: float | None
    final_lr: float | None
    warmup: float | None
    horizon: float | None
    betas: tuple[float, float] | None
    weight_decay: float | None
    final_weight_decay: float | None
    decayed: Literal["matrices", "matrices+tokens", "all"] | None
    clip: float | None
    precision: Literal["auto", "32", "bf16"] | None
    options: Mapping[str, Any]
    init: str
    seed: int
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: int
    workers: int
    decode: Literal["once", "always"]
    decode_size: int | None
    gradient_checkpointing: bool
    limit: int | None
    half: bool
    checkpoint_every: int
    keep_every: int
    picture_every: int
    watch_every: int | None
    probe_every: int
    on_bad_image: OnBadImage


def pretrain(
    method: str,
    data: str | Sequence[str],
    *,
    out: Path | str | None = None,
    data_dir: Path | None = None,
    cache: Path | None = None,
    resume: bool = False,
    keep_held_out: bool = False,
    keep_splits: bool = False,
    log: str | None = None,
    command: str = "",
    bar: Bar = unseen,
    note: Callable[[str], None] = log.warning,
    **settings: Unpack[PretrainSettings],
) -> Path:
    """Pretrain an encoder on the training images of one or more datasets; returns the path of its weights.

    ``data``: names of datasets (in ``data_dir``; without it, phantoms), their folders, or CSV files; several in a list,
    or separated by commas. ``out`` (default ``runs/METHOD``): folder of the run. Patients whom a related dataset beside
    these holds out are left out, unless ``keep_held_out``; which images the recipe's paper trains on is its own, unless
    ``keep_splits``; ``note`` is told of both. ``log``: an
    experiment logger that gets the numbers, too. ``command`` is recorded in the model card. ``bar`` shows a phantom
    being drawn; training itself speaks on stderr. Raises UserError.

    Example::

        weights = cxrbench.pretrain("spcl", ["nih", "./labels.csv"], data_dir=Path("/data"), arch="micro", epochs=60)
        print(cxrbench.run(f"spcl@{weights},random:micro", "nih"))
    """
    if isinstance(data, str):
        names = named(data)
    else:
        several = data if isinstance(data, (list, tuple)) else [data]
        names = [by_name("the dataset", one, "./labels.csv") for one in several]
    data_dir = data_folder(data_dir)
    _refuse_wrong_names(method, names, data_dir)
    _refuse_wrong_settings(settings)
    if log is not None:
        from cxrbench.loggers.contract import check_logger

        check_logger(log)
    from cxrbench.encoders.pretraining.engine.beginning import fitted_to_file
    from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, checked, pretrain

    config = PretrainConfig(method=method, **settings)
    if not names:
        raise UserError("--data names no dataset: try --data vindr,rsna,siim, or the path of a CSV")
    blueprint, recipe = checked(config)  # before data is read or drawn
    fitted_to_file(config, blueprint)
    manifests, chosen = [read(name, data_dir, cache, bar) for name in names], ()
    if not keep_splits:
        manifests, chosen = chosen_images(manifests, recipe)
        for line in chosen:
            note(f"{line}; --keep-splits takes what its reader gives")
    excluded = None
    if not keep_held_out:
        excluded, notes = held_out(manifests, data_dir, cache, bar)
        for line in notes:
            note(line)
    folder, target = cache_folder(cache) / "pretraining", Path(out or Path("runs") / method)
    return pretrain(
        config, manifests, target, cache=folder, resume=resume, command=command, excluded=excluded, chosen=chosen,
        log=log,
    )  # fmt: skip


def method_options(method: str) -> Mapping[str, str]:
    """The settings of a method's own, by name: what each is. Raises UserError."""
    _refuse_wrong_names(method, (), None)
    from cxrbench.encoders.pretraining.engine.plan import PretrainConfig, read_method

    return read_method(PretrainConfig(method=method)).options


def pretraining_recipe(
    method: str, *, note: Callable[[str], None] = log.warning, **settings: Unpack[PretrainSettings]
) -> "list[RecipeLine]":
    """Every number that ``pretrain`` with these settings trains with: (name, value, source), options included.

    A source is a section of the paper, a file of the public code, or ours and why; what ``settings`` say otherwise than
    the recipe is marked as given. ``note`` is told what follows from that and might surprise. No data are read. Raises
    UserError.
    """
    _refuse_wrong_names(method, (), None)
    _refuse_wrong_settings(settings)
    from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
    from cxrbench.encoders.pretraining.engine.recipe_lines import recipe_lines

    lines, notes = recipe_lines(PretrainConfig(method=method, **settings))
    for line in notes:
        note(line)
    return lines


def _refuse_wrong_settings(settings: PretrainSettings) -> None:
    """Raise UserError for a setting that is none, or of another type or choice, before torch is imported."""
    kinds = get_type_hints(PretrainSettings)
    for name, value in settings.items():
        if name not in kinds:
            raise UserError(unknown("setting", name, kinds))
        kind = kinds[name]
        choices = next((part for part in (kind, *get_args(kind)) if get_origin(part) is Literal), None)
        if choices is None:
            check_type(name, value, kind)
        elif value is not None:
            chosen(f"--{name.replace('_', '-')}", choices, str(value))


def _refuse_wrong_names(method: str, names: Sequence[str], data_dir: Path | None) -> None:
    """Raise UserError for a wrong name before torch is imported and data are read or drawn for it."""
    from cxrbench.engine.names import dataset_problem

    only_point(METHODS, by_name("the method", method, "spcl"), "method")
    for name in names:
        if "/" not in name and (problem := dataset_problem(name, data_dir)) is not None:
            raise problem


def named(data: str) -> list[str]:
    """What --data names, separated by commas; the path of one dataset may have commas in it."""
    if "/" in data and Path(data).expanduser().exists():
        return [data]
    return [name.strip() for name in data.split(",") if name.strip()]


def read(name: str, data_dir: Path | None, cache: Path | None, bar: Bar = unseen) -> "Manifest":
    """A dataset by name, by the path of its folder, or by the path of a CSV."""
    from cxrbench.engine.registry import dataset_adapters

    folder = Path(os.path.abspath(Path(name).expanduser()))  # not resolved: a link may have another name
    if "/" in name and not folder.exists():
        raise UserError(f"--data {name}: there is no such folder or file")
    if "/" in name and folder.is_dir():
        if folder.name not in (known := dataset_adapters()) and any((folder / other).is_dir() for other in known):
            raise UserError(f"--data {name} is a folder of datasets: name them, e.g. --data mimic --data-dir {name}")
        name = str(folder)
    return load_dataset(name, data=data_dir, cache=cache, bar=bar)


def chosen_images(
    manifests: "Sequence[Manifest]", recipe: "PretrainingRecipe"
) -> "tuple[list[Manifest], tuple[str, ...]]":
    """The datasets with the images and splits of the recipe's paper, and a line on each of which it says something."""
    from cxrbench.data.subsets.selection import selected

    found, lines = [], []
    for manifest in manifests:
        chosen = recipe.data.get(manifest.name)
        found.append(manifest if chosen is None else selected(manifest, chosen.selection))
        if chosen is not None:
            counts = found[-1].images["split"].value_counts().to_dict()
            sizes = ", ".join(f"{counts[split]:,} {split}" for split in sorted(counts))
            lines.append(f"{manifest.name} as in {chosen.source}: {sizes} images")
    return found, tuple(lines)


def held_out(
    manifests: "Sequence[Manifest]", data_dir: Path | None, cache: Path | None, bar: Bar = unseen
) -> tuple[dict[str, frozenset[str]], tuple[str, ...]]:
    """Patients of each dataset whom a related dataset beside it holds out, and what is to be said of them."""
    from cxrbench.data.holdout import exclusions, present
    from cxrbench.engine.registry import dataset_adapters

    known = dataset_adapters()
    ours = [m for m in manifests if m.name in known]
    folders = [*([data_dir] if data_dir is not None else []), *dict.fromkeys(m.root.parent for m in ours)]
    where = {name: folder for folder in reversed(folders) for name in present(folder, known)}  # data_dir comes first
    found = exclusions(
        manifests, {*where, *(m.name for m in ours)}, known, lambda name: read(name, where[name], cache, bar)
    )
    return found.patients, found.notes
