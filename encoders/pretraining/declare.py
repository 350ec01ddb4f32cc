"""The two entry points of a method that is pretrained here: what ``cxrbench pretrain`` and ``--encoder`` name."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cxrbench.encoder import Encoder, EncoderPlugin, EncoderRequest, SentenceAttention, named_weights
from cxrbench.encoders.backbones.encoder import how_to_pretrain, phantom_weights
from cxrbench.encoders.pretraining.constants import Constants
from cxrbench.encoders.pretraining.method import Blueprint, Method, Objective
from cxrbench.encoders.pretraining.options import OptionSet
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe

T = TypeVar("T")


def declare(
    *,
    name: str,
    summary: str,
    usage: str,
    options: OptionSet[T],
    recipes: Mapping[str, PretrainingRecipe],
    configure: Callable[[str, T], Blueprint],
    objective: type[Objective],
    load: Callable[[EncoderRequest], Encoder],
    untrained: Callable[[str, int], Encoder],
    constants: Callable[[Any, T], Constants],
    meant: Callable[[Any, T], Mapping[str, str]] = lambda backbone, options: {},
    data: str = "DIR",
    without_weights: str = "",
    sentences: Callable[[EncoderRequest], SentenceAttention] | None = None,
) -> tuple[Method, EncoderPlugin]:
    """The method ``name``, and its result as an encoder. Called once per module, with literal texts.

    ``configure``: architecture and options to a blueprint, whose objective is an ``objective``. ``recipes``: one for
    each variant of the options, the default first. ``data``: what to pretrain on, for the advice of what to do without
    weights; ``without_weights``: another advice. The rest as in ``Method`` and ``EncoderPlugin``.
    """
    return (
        Method(
            name=name,
            configure=lambda arch, given: configure(arch, options.read(given, arch)),
            options=options.lines(),
            untrained=untrained,
            pictures=objective.picture is not Objective.picture,
            recipes=recipes,
            constants=constants,
            meant=meant,
        ),
        EncoderPlugin(
            load=load,
            summary=summary,
            usage=usage,
            phantom_weights=phantom_weights(name),
            without_weights=without_weights or how_to_pretrain(name, data),
            reads=named_weights,
            sentences=sentences,
        ),
    )
