"""What a run begins from: the weights that were asked for, those that the method's source begins from, or none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrbench.encoders.pretraining.engine.plan import PretrainConfig
from cxrbench.encoders.pretraining.initial import RANDOM, TIMM, InitialWeights, fill, read_initial
from cxrbench.encoders.pretraining.method import Blueprint, Objective
from cxrbench.errors import UserError


def check_init(config: PretrainConfig) -> None:
    """What can be known to be wrong with ``init`` before anything is read. Raises UserError."""
    if config.init and config.init != RANDOM and not config.init.startswith(TIMM):
        path = Path(config.init).expanduser()
        if not path.is_file():
            raise UserError(f"--init {config.init}: no such file; give one of weights, timm:NAME or {RANDOM}")


def initial_weights(
    config: PretrainConfig, arch: str, blueprint: Blueprint, note: Callable[[str], None]
) -> InitialWeights | None:
    """The weights to begin from; None: random ones.

    Where none are asked for, they are those that the method's source begins from. If these cannot be had, ``note`` is
    told, and training begins at random. Raises UserError where those that are asked for cannot be read.
    """
    source = blueprint.source_weights
    if config.init:
        return None if config.init == RANDOM else read_initial(config.init)
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


def begin(
    objective: Objective, blueprint: Blueprint, initial: InitialWeights | None, note: Callable[[str], None]
) -> dict[str, Any]:
    """Fill the objective's backbones, if there are weights; returns what the model card says of it. UserError."""
    if initial is None:
        source = blueprint.source_weights
        return {"weights": RANDOM} | ({"the source begins from": source.words} if source else {})
    if blueprint.begun_from is None:
        notes = fill(objective.beginnings(), initial)
        objective.inherited = initial.card
        if notes:
            note(f"begun from {initial.name}: {'; '.join(notes)}")
    return initial.facts
