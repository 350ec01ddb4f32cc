"""What a pretraining method is to the engine: the contracts, and what every objective needs from the engine.

A method reads its options into a ``Blueprint``; the blueprint says which images it wants, makes a corpus of them (what
one batch is), and an objective (the loss of a batch). The engine knows nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import Encoder, EncoderCard, Preprocess
from cxrbench.encoders.pretraining.constants import Constants
from cxrbench.encoders.pretraining.corpus import Corpus, ImageCorpus, TrainingImages
from cxrbench.encoders.pretraining.initial import InitialWeights, SourceWeights
from cxrbench.encoders.pretraining.recipe import PretrainingRecipe
from cxrbench.errors import UserError


@dataclass(frozen=True)
class Draw:
    """The randomness of one step: a generator that all processes seed alike, and which share of the batch is ours.

    Every process draws for the whole batch and takes its own rows, so two processes of 128 images see what one process
    of 256 sees. ``progress``: share of the run that lies behind, in [0, 1), for weights that are annealed.
    """

    generator: torch.Generator
    rank: int = 0
    world: int = 1
    progress: float = 0.0

    def rand(self, batch: int, *shape: int) -> Tensor:
        """Uniform numbers [batch, *shape] in [0, 1) for this process's ``batch`` images, on the generator's device."""
        whole = torch.rand(self.world * batch, *shape, generator=self.generator, device=self.generator.device)
        return whole[self.rank * batch : (self.rank + 1) * batch]


class Batch(NamedTuple):
    """``images``: normalised, [B, channels, size, size], or [B, views, channels, size, size] of studies.

    ``more``: what else the method's corpus puts into a batch, by name.
    """

    images: Tensor
    more: Mapping[str, Tensor] = {}


class Loss(NamedTuple):
    """``value``: the scalar to minimise; ``logged``: further scalars for the log."""

    value: Tensor
    logged: Mapping[str, Tensor] = {}


class Advice(NamedTuple):
    """What to try, as the end of a sentence, where embeddings collapse to one point, or to few dimensions."""

    one_point: str = "a lower --lr or a longer --warmup"
    few_dimensions: str = "a lower --lr or a larger --batch-size"


class Objective(nn.Module, ABC):
    """The loss of a batch, with everything that is trained for it. In the end only ``kept`` is kept.

    ``inherited``: of the weights that training began from, if any: what they have seen, the result has seen.
    ``advice``: against a collapse. ``spread_left``: the share of its start below which the spread of pooled embeddings
    is one; less where no loss compares them, and they may come close to each other while all is well.
    """

    preprocess: Preprocess
    inherited: EncoderCard | None = None
    advice: Advice = Advice()
    spread_left: float = 1 / 3

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """What training sees of a batch, drawn anew: random crops, jitter. By default all of it, as it is.

        Images come at the side ``Blueprint.decode_size`` and leave at that of ``preprocess``. It is called in training
        alone, before ``forward`` and with the same ``draw``; costs are counted, and pictures drawn, without it.
        """
        return batch

    @abstractmethod
    def forward(self, batch: Batch, draw: Draw) -> Loss:
        """The loss; all randomness but dropout's comes from ``draw``."""

    @abstractmethod
    def kept(self) -> nn.Module:
        """The network whose state dict becomes the encoder's file."""

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """What, beside the weights, it takes to build ``kept`` again; plain JSON values."""

    def rate_factors(self) -> Mapping[str, float]:
        """Parameters, by name, whose learning rate is so many times the recipe's, at every step; none is decayed."""
        return {}

    def beginnings(self) -> tuple[nn.Module, ...]:
        """The backbones, all alike, that ``--init`` fills: that which is called ``backbone``. Raises UserError."""
        backbone = getattr(self, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise UserError(f"{type(self).__name__} has no backbone that could begin from weights: leave out --init")
        return (backbone,)

    def after_step(self, progress: float) -> None:
        """After every optimizer step, with the share of the run that lay behind before it: for moving averages."""

    def watched(self, images: Tensor) -> Mapping[str, Tensor]:
        """Pooled embeddings [n, D] of normalised images [n, channels, size, size], read where evaluation reads them.

        By name of the network, the one that is kept first; "" where there is but one. Called in evaluation mode,
        without gradients, by one process. Nothing (the default): nothing is watched.
        """
        return {}

    def picture(self, batch: Batch, draw: Draw) -> Tensor | None:
        """What a person wants to see of training (reconstructions, attention): [H, W] or [3, H, W] in [0, 1]."""
        return None


def every_image(manifest: Manifest) -> NDArray[np.bool_]:
    """All rows."""
    return np.ones(len(manifest), bool)


@dataclass(frozen=True)
class Blueprint:
    """A method whose architecture and options are read.

    ``wants`` says in words, ``eligible`` (bool [images]) which images of a manifest it can use; ``corpus`` makes units
    of training out of the prepared images; ``objective`` is called with that corpus, under a seed. ``options`` is
    recorded (a dataclass). ``recomputes``: whether the objective has blocks whose activations gradient checkpointing
    can spare. ``compared``: whether the loss compares units with each other, those of all processes (``joined``) or of
    each one (``process``). ``within_process``: what goes by each process's own share of a batch, in words;
    ``if_accumulated``: what else is not as with so many processes where so many batches are accumulated, as the end of
    a sentence. ``needed`` is called with the manifests before images are decoded, which may take hours, and raises
    UserError where something is missing that is needed then (a tokeniser, weights). ``decode_size``: where
    ``Objective.augmented`` cuts crops, the side of the images that it cuts them from; None: it cuts none. ``backbone``:
    its configuration, a dataclass, to be shown, and compared with weights to begin from. ``source_weights``: what the
    method's source begins from. ``base``: weights without which there is no such method; None: there are none, and
    ``Objective.beginnings`` are filled. ``decode_source``: where ``decode_size`` is from.
    """

    preprocess: Preprocess
    options: Any
    objective: Callable[[Any], Objective]
    corpus: Callable[[TrainingImages], Corpus] = ImageCorpus
    eligible: Callable[[Manifest], NDArray[np.bool_]] = every_image
    recomputes: bool = True
    compared: Literal["nothing", "joined", "process"] = "nothing"
    within_process: str = ""
    if_accumulated: str = ""
    needed: Callable[[Sequence[Manifest]], object] = lambda manifests: None
    wants: str = "training images"
    decode_size: int | None = None
    source_weights: SourceWeights | None = None
    base: "BaseWeights | None" = None
    backbone: Any = None
    decode_source: str = "ours: crops are cut out of detail"


@dataclass(frozen=True)
class BaseWeights:
    """Weights of another method, without which a method cannot begin, and which decide more than a backbone's numbers.

    ``name``: of what they are (``MAE``), as is said at ``cited``. ``begun``: the method from given weights; their
    channels and images are its own. ``usual``: the weights where none are given, by the manifests; raises UserError
    where there are none. ``usual_on``: on what data there are, in words; "": on none.
    """

    name: str
    cited: str
    begun: Callable[[InitialWeights], Blueprint]
    usual: Callable[[Sequence[Manifest]], InitialWeights]
    usual_on: str = ""


@dataclass(frozen=True)
class Method:
    """What an entry point in group ``cxrbench.methods`` names.

    ``configure`` takes the architecture's name and the method's own options, as text or numbers by name, with the name
    of the recipe under ``variant``; it raises UserError for what it does not know. ``options``: name to one line of
    help. ``untrained`` makes the same encoder without training from an architecture's name ("": the one of the phantom
    weights) and a seed: the method's own ``random``. ``pictures``: whether its objective draws any (overrides
    ``Objective.picture``). ``recipes``: by name, the default first. ``constants``: of a blueprint's backbone and
    options, the numbers that nothing sets. ``meant``: of the same, options whose value stands for another, which it is.
    """

    name: str
    configure: Callable[[str, Mapping[str, Any]], Blueprint]
    options: Mapping[str, str]
    untrained: Callable[[str, int], Encoder]
    pictures: bool = False
    recipes: Mapping[str, PretrainingRecipe] = field(default_factory=lambda: {"fixed": PretrainingRecipe()})
    constants: Callable[[Any, Any], Constants] = lambda backbone, options: {}
    meant: Callable[[Any, Any], Mapping[str, str]] = lambda backbone, options: {}


class _GatherBatch(torch.autograd.Function):
    """Concatenate every process's rows; in the backward pass give back our rows' gradient, times the processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].chunk(dist.get_world_size())[dist.get_rank()] * dist.get_world_size()


def gather_batch(rows: Tensor) -> Tensor:
    """Rows [B, ...] of every process, in rank order: [world · B, ...]. One process: the rows themselves.

    For losses that compare images: each process computes the whole loss of the joined batch. DDP then averages the
    processes' gradients, where it should add them, hence the factor in the backward pass: with it, W processes of B
    images train as one process of W · B images does, parameters of the loss (the logit scale) included.
    """
    return _GatherBatch.apply(rows) if dist.is_available() and dist.is_initialized() else rows  # type: ignore[return-value]
