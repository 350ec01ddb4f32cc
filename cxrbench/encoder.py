"""What an encoder is: the whole plugin interface."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:  # a contract is read by commands that never compute
    from torch import Tensor


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its images. Owned by the encoder, never typed by a user.

    ``resize``: ``squash`` ignores the aspect ratio; ``crop`` scales the shorter side to ``size / crop_pct`` and cuts
    the centre ``size`` x ``size``; ``pad`` scales the longer side to ``size`` and pads with black. Images in [0, 1]
    are then normalised as (x - mean) / std, ``mean`` and ``std`` having one entry or one per channel.
    """

    size: int = 224
    resize: Literal["squash", "crop", "pad"] = "crop"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    channels: Literal[1, 3] = 3
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0


class Features(NamedTuple):
    """What an encoder gives for a batch of B images.

    ``pooled``: [B, D], the image embedding. ``maps``: empty, or 4 x [B, C_l, H_l, W_l] at native resolution: a CNN's
    stages (strides 4..32), or a plain ViT's four evenly spaced blocks (all at its patch stride).
    """

    pooled: "Tensor"
    maps: "tuple[Tensor, ...]" = ()


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder says of itself, for the leaderboard and the contamination marks.

    ``pretrained_on``: registry names of the datasets whose images it has seen (``nih``, ``mimic``, ...);
    ``synthetic``: pretrained on phantom images.
    """

    method: str
    licence: str = "unknown"
    pretrained_on: tuple[str, ...] = ()
    synthetic: bool = False


@runtime_checkable
class Encoder(Protocol):
    """An ``nn.Module`` with these two. Optional: ``card: EncoderCard``, ``encode_text(list[str]) -> Tensor``.

    Texts are compared with ``pooled``, or with ``project(pooled) -> Tensor``, if it has that as well.

    ``forward`` takes a float batch [B, channels, size, size], normalised as ``preprocess`` says.
    """

    preprocess: Preprocess

    def forward(self, images: "Tensor") -> Features:
        """Embed a batch of preprocessed images."""
        ...

    def __call__(self, images: "Tensor") -> Features:
        """Same as ``forward`` (given by ``nn.Module``)."""
        ...


class EncoderRequest(NamedTuple):
    """A parsed encoder spec ``NAME[:VARIANT][@WEIGHTS]``, e.g. ``timm:vit_base_patch16_224@file.pth``."""

    name: str
    variant: str | None
    weights: str | None


@dataclass(frozen=True)
class EncoderPlugin:
    """What an entry point in group ``cxrbench.encoders`` names. (A plain Encoder class or function works too.)

    ``load`` builds the encoder, or raises ``UserError``. ``usage`` is the spec's grammar. ``phantom_weights`` is what
    the bare name means on phantom data; with it set, the bare name on real data is an error that says
    ``without_weights``. ``complete``: specs that need nothing more, for ``--encoder all``, which on phantom data
    adds the bare names with phantom weights.
    """

    load: Callable[[EncoderRequest], Encoder]
    summary: str
    usage: str
    phantom_weights: str | None = None
    without_weights: str = ""
    complete: tuple[str, ...] = ()


@dataclass(frozen=True)
class EncoderSpec:
    """A resolved encoder: who it is, down to the bit.

    ``weights_sha256`` covers every parameter and buffer; ``source_sha256`` the source of its class;
    ``preprocess`` is the repr of its Preprocess; ``variant`` what follows the colon of its spec, which may say what
    is read of the same weights (``spcl:cls``). ``name`` is what the user typed and what the leaderboard shows.
    """

    name: str
    card: EncoderCard
    weights_sha256: str
    source_sha256: str
    preprocess: str
    parameters: int
    variant: str = ""

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of weights, source, preprocessing and variant."""
        text = "|".join((self.weights_sha256, self.source_sha256, self.preprocess, self.variant))
        return hashlib.sha256(text.encode()).hexdigest()
