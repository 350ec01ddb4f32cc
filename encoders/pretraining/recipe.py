"""How a method is trained where the user does not say otherwise: every number, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from cxrbench.data.subsets.selection import Selection

LearningRateRule = Literal["absolute", "per-256"]
Decayed = Literal["matrices", "matrices+tokens", "all"]
Precision = Literal["auto", "32", "bf16"]

WORDS = ("processes", "sources", "data")  # fields that are no numbers of a training
PER = 256  # units of the batch that a scaled learning rate is told for


class ChosenImages(NamedTuple):
    """Which images of a dataset are trained on, and where that is said."""

    selection: Selection
    source: str


@dataclass(frozen=True)
class PretrainingRecipe:
    """The numbers of a training, beside the options of the method that belong to them.

    ``arch``: as ``--arch`` takes it. ``batch_size``: units that are compared with each other, over all processes;
    ``accumulate``: batches of an optimizer step. ``lr``: peak; by ``lr_rule`` as it stands (``absolute``), or for 256
    units of an optimizer step (``per-256``). ``start_lr``, ``final_lr``: shares of the peak before warm-up and at the
    end. ``horizon``: length of the schedules, in runs: of a longer one the run sees the beginning. ``warmup``: share
    of the schedule. ``final_weight_decay``: where half a cosine takes ``weight_decay`` (None: it stays). ``decayed``:
    parameters with more than one side above 1 (``matrices``), tokens [1, 1, D] and other parameters of two dimensions
    and more with them (``matrices+tokens``), or ``all``. ``clip``: the largest norm of a gradient; 0: it is not cut.
    ``selection``: which weights become the encoder. ``processes``: how many share a batch in the source, where the
    method does something within each. ``sources``: of each of these numbers, and of the method's options
    that the recipe sets, by name: paper and section, repository and file, or ``ours`` and why. ``data``: by dataset,
    where its images are not chosen and dealt out as its reader does.
    """

    arch: str = "small"
    batch_size: int = 256
    accumulate: int = 1
    epochs: int = 200
    lr: float = 5e-4
    lr_rule: LearningRateRule = "absolute"
    start_lr: float = 0.0
    final_lr: float = 0.0
    warmup: float = 0.05
    horizon: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.05
    final_weight_decay: float | None = None
    decayed: Decayed = "matrices"
    clip: float = 1.0
    precision: Precision = "auto"
    selection: Literal["last"] = "last"
    processes: int = 1
    sources: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, ChosenImages] = field(default_factory=dict)

    @property
    def peak(self) -> float:
        """The learning rate that follows from ``lr`` and its rule."""
        return self.lr * self.batch_size * self.accumulate / PER if self.lr_rule == "per-256" else self.lr

    def numbers(self) -> dict[str, Any]:
        """Everything but the sources and the data, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in WORDS}


def cited(texts: Mapping[str, str]) -> dict[str, str]:
    """Sources by name, from the names (with blanks between them) by source; a name is cited once."""
    pairs = [(name, source) for source, names in texts.items() for name in names.split()]
    if len(pairs) != len(dict(pairs)):
        raise ValueError(f"cited twice: {sorted(name for name, _ in pairs)}")
    return dict(pairs)
