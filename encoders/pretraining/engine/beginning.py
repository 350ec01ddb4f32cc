"""What a run begins from: the weights that were asked for, those that the method's source begins from, or none."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.initial import RANDOM, TIMM, InitialWeights, fill, read_initial, refuse_misfit, shape
from cxrbench.encoders.pretraining.method import Blueprint, Objective
from cxrbench.errors import UserError


def check_init(config: PretrainConfig, blueprint: Blueprint) -> None:
    """What can be known to be wrong with ``init`` before anything is read. Raises UserError."""
    if config.init == RANDOM and blueprint.base is not None:
        raise UserError(
            f"--init {RANDOM}: {config.method} begins from the weights of an {blueprint.base.name}, never at random: "
            "pass --init FILE"
        )
    if config.init and config.init != RANDOM and not config.init.startswith(TIMM):
        path = Path(config.init).expanduser()
        if path.is_dir():
            raise UserError(f"--init {config.init} is a folder: give the file of weights in it")
        if not path.is_file():
            raise UserError(f"--init {config.init}: no such file; give one of weights, timm:NAME or {RANDOM}")


def initial_weights(
    config: PretrainConfig,
    arch: str,
    blueprint: Blueprint,
    manifests: Sequence[Manifest],
    note: Callable[[str], None],
) -> InitialWeights | None:
    """The weights to begin from; None: random ones.

    Where none are asked for, they are those that the method's source begins from. If these cannot be had, ``note`` is
    told, and training begins at random. Raises UserError where those that are asked for cannot be read, and where a
    method that never begins at random has none on these data.
    """
    source = blueprint.source_weights
    if config.init:
        return None if config.init == RANDOM else read_initial(config.init)
    if blueprint.base is not None:
        return blueprint.base.usual(manifests)
    if source is None:
        return None
    why = f"there are none for --arch {arch}"
    if source.spec:
        try:
            return read_initial(source.spec)
        except UserError as error:
            why = str(error).partition("; without network")[0]
    note(
        f"the source of {config.method} begins from {source.words} ({why}); this run begins from RANDOM weights, and "
        f"its model card says so: pass --init FILE for others, or --init {RANDOM} to mean it"
    )
    return None


def fitted(blueprint: Blueprint, initial: InitialWeights) -> Blueprint:
    """The blueprint as it begins from the weights. Raises UserError where they are not of its backbone's shape."""
    if blueprint.base is not None:
        return blueprint.base.begun(initial)
    if isinstance(blueprint.backbone, ViTConfig):
        refuse_misfit(initial, blueprint.backbone)
    elif blueprint.backbone is not None and initial.config is not None:
        raise UserError(
            f"{initial.name} is a ViT, and the backbone is none: pass --arch {shape(initial.config)}, or other weights"
        )
    return blueprint


def fitted_to_file(config: PretrainConfig, blueprint: Blueprint) -> Blueprint:
    """``fitted`` where ``init`` is a file; the hub is not asked. Raises UserError."""
    if not config.init or config.init == RANDOM or config.init.startswith(TIMM):
        return blueprint
    return fitted(blueprint, read_initial(config.init))


def begin(
    objective: Objective, blueprint: Blueprint, initial: InitialWeights | None, note: Callable[[str], None]
) -> dict[str, Any]:
    """Fill the objective's backbones, if there are weights; returns what the model card says of it. UserError."""
    if initial is None:
        source = blueprint.source_weights
        return {"weights": RANDOM} | ({"the source begins from": source.words} if source else {})
    if blueprint.base is None:
        notes = fill(objective.beginnings(), initial)
        objective.inherited = initial.card
        if notes:
            note(f"begun from {initial.name}: {'; '.join(notes)}")
    return initial.facts
