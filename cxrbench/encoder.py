"""What an encoder is: the whole plugin interface."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

from cxrbench.encoder_rules import check_card, check_preprocess
from cxrbench.errors import UserError

if TYPE_CHECKING:  # a contract is read by commands that never compute
    from torch import Tensor

    from cxrbench.features.stored.table import EmbeddingTable


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its images. Owned by the encoder, never typed by a user.

    ``resize``: ``squash`` ignores the aspect ratio; ``crop`` scales the shorter side to ``size / crop_pct`` and cuts
    the centre ``size`` x ``size``; ``pad`` scales the longer side to ``size`` and pads with black. Images in [0, 1]
    are then normalised as (x - mean) / std, ``mean`` and ``std`` having one entry or one per channel. Raises UserError
    for anything else.
    """

    size: int = 224
    resize: Literal["squash", "crop", "pad"] = "crop"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    channels: Literal[1, 3] = 3
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    crop_pct: float = 1.0

    def __post_init__(self) -> None:
        check_preprocess(self)

    @property
    def doubt(self) -> str:
        """Why its numbers are of no images at all, as when mean and deviation were swapped; "" where they may be.

        Values in [0, 1] with mean m deviate by sqrt(m (1 - m)) at the most; 5% are for rounded numbers. A mean of 0 and
        a deviation of 1 are of no images either, and are how people write that nothing is done.
        """
        pairs = [(m, s) for m, s in zip(self.mean * 3, self.std * 3, strict=False) if m != 0 and s != 1]
        impossible = [(m, s) for m, s in pairs if s * s > 1.05 * max(0.0, m * (1 - m))]
        if not impossible:
            return ""
        told = f"mean {impossible[0][0]:g} and deviation {impossible[0][1]:g}"
        return f"its preprocessing has {told}, which no pixels in [0, 1] have: swapped, or of other numbers?"


class Features(NamedTuple):
    """What an encoder gives for a batch of B images.

    ``pooled``: [B, D], the image embedding. ``maps``: empty, or 4 x [B, C_l, H_l, W_l] at native resolution: a CNN's
    stages (strides 4..32), or a plain ViT's four evenly spaced blocks (all at its patch stride).
    """

    pooled: "Tensor"
    maps: "tuple[Tensor, ...]" = ()


NOTHING = ("nothing",)
"""What an untrained encoder is pretrained on."""


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder says of itself, for the leaderboard and the contamination marks.

    ``pretrained_on``: registry names of the datasets whose images it has seen (``nih``, ``mimic``, ...), other names
    where these are no chest X-rays (``imagenet``), ``NOTHING`` where it has seen none; empty: nobody has said;
    ``synthetic``: pretrained on phantom images. ``assumed``: what nobody said of it and had to be taken for granted,
    e.g. its preprocessing, one sentence each; the leaderboard tells it. Hours that its pretraining took, where they are
    known: on the clock, of GPUs, of CPU cores. ``citation``, ``year``: of the publication; ``unverified``: which of
    what is said of it could not be looked up. Raises UserError for names that are no text, and one that is no tuple.
    """

    method: str
    licence: str = "unknown"
    pretrained_on: tuple[str, ...] = ()
    synthetic: bool = False
    assumed: tuple[str, ...] = ()
    wall_hours: float | None = None
    gpu_hours: float | None = None
    cpu_hours: float | None = None
    citation: str = ""
    year: int | None = None
    unverified: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_card(self)

    @property
    def hours(self) -> dict[str, float]:
        """Hours by name, those that are known."""
        found = {name: getattr(self, name) for name in ("wall_hours", "gpu_hours", "cpu_hours")}
        return {name: hours for name, hours in found.items() if hours is not None}


@runtime_checkable
class Encoder(Protocol):
    """An ``nn.Module`` with these two. Optional: ``card: EncoderCard``, ``encode_text(list[str]) -> Tensor``.

    Texts are compared with ``pooled``, or with ``project(pooled) -> Tensor``, if it has that as well.

    ``forward`` takes a float batch [B, channels, size, size], normalised as ``preprocess`` says.

    A class that has ``thread_safe = True`` says that a call leaves nothing behind in the module or outside it. On a
    CPU several threads may then call it at once, which is faster.
    """

    preprocess: Preprocess

    def forward(self, images: "Tensor") -> Features:
        """Embed a batch of preprocessed images."""
        ...

    def __call__(self, images: "Tensor") -> Features:
        """Same as ``forward`` (given by ``nn.Module``)."""
        ...


class Attentions(NamedTuple):
    """Where the tokens of a ViT looked in a batch of B images.

    ``blocks``: of each block, the first one first, [B, heads, T, T] after the softmax: row i says from which tokens
    token i takes, and sums to 1. ``grid``: rows and columns of patches: the last rows x columns of the T tokens, in
    raster order; CLS and registers come before them. ``read``: [T], sums to 1: at which of the tokens of the last block
    ``pooled`` is read; CLS alone, or all patches alike.
    """

    blocks: "tuple[Tensor, ...]"
    grid: tuple[int, int]
    read: "Tensor"


@runtime_checkable
class AttentiveEncoder(Encoder, Protocol):
    """An encoder that can say where it looks: an optional capability, for pictures (``cxrbench/looking``)."""

    def attentions(self, images: "Tensor") -> Attentions:
        """Of a batch as of ``forward``. Raises NotApplicableError where the network inside has no such attention."""
        ...


class SentenceAttention(Protocol):
    """What says where in an image each of some sentences looks (``EncoderPlugin.sentences``)."""

    preprocess: Preprocess

    def attend(self, images: "Tensor", sentences: Sequence[str]) -> "Tensor":
        """A batch [B, channels, size, size] and P sentences, of one report, to weights [B, P, rows, columns]."""
        ...


class ViewAwareEncoder(Encoder, Protocol):
    """An encoder that embeds an image by the view that it was taken from.

    ``view_codes``: what it calls the views of a manifest (``PA``, ``AP``, ``L``, "" for any other), a code for each;
    None: it takes all images alike. Who embeds the images of a manifest tells it their codes, int64 [B]; who knows no
    views calls it without them. Its features are kept by the views of the images as well: a view that a table corrects
    makes them anew. The features of a view are those of a batch of nothing else: views are told image by image.
    """

    view_codes: Mapping[str, int] | None

    def forward(self, images: "Tensor", views: "Tensor | None" = None) -> Features:
        """Embed a batch of images of these views."""
        ...

    def __call__(self, images: "Tensor", views: "Tensor | None" = None) -> Features:
        """Same as ``forward``."""
        ...


def view_codes(encoder: object) -> Mapping[str, int] | None:
    """The codes of an encoder that asks for views, else None. Raises UserError where one of the four has none."""
    codes = getattr(encoder, "view_codes", None)
    if codes is None:
        return None
    if lacking := [view or "unknown" for view in ("PA", "AP", "L", "") if view not in codes]:
        raise UserError(
            f"encoder {type(encoder).__name__} has view_codes {dict(codes)}, and none for the view {lacking[0]}: give "
            'a code for each of "PA", "AP", "L" and ""'
        )
    return codes


@runtime_checkable
class StoredEncoder(Encoder, Protocol):
    """An encoder that computes nothing: what it would give of each image lies in a file, by the image's name.

    Its ``forward`` raises NotApplicableError. Who asks for features looks here first.
    """

    @property
    def stored_embeddings(self) -> "EmbeddingTable":
        """The whole file."""
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

    ``reads``: which files and folders decide the encoder beside its code, e.g. ``named_weights``; None if that cannot
    be known (a hub). An encoder whose plugin says so is not built again to learn that it is the same, as long as these
    files, its code and the libraries are the same. It may look at nothing else: no environment, no network.

    ``sentences``: opens what says where a sentence looks, for encoders that learn that; raises UserError where these
    weights do not have it.
    """

    load: Callable[[EncoderRequest], Encoder]
    summary: str
    usage: str
    phantom_weights: str | None = None
    without_weights: str = ""
    complete: tuple[str, ...] = ()
    reads: Callable[[EncoderRequest], Sequence[Path] | None] | None = None
    sentences: Callable[[EncoderRequest], SentenceAttention] | None = None


def named_weights(request: EncoderRequest) -> tuple[Path, ...] | None:
    """For ``EncoderPlugin.reads``: the file or folder after the ``@``, and its sidecar, which may be absent.

    None if there is no such thing on this disk.
    """
    path = Path(request.weights or "").expanduser()
    return (path, sidecar_path(path)) if request.weights and path.exists() else None


def sidecar_path(path: Path) -> Path:
    """Where weights' preprocessing and card may be said: ``FILE.toml`` beside a file, ``cxrbench.toml`` in a folder."""
    return path / "cxrbench.toml" if path.is_dir() else path.with_name(f"{path.name}.toml")


@dataclass(frozen=True)
class EncoderSpec:
    """A resolved encoder: who it is, down to the bit.

    ``weights_sha256`` covers every parameter and buffer; ``source_sha256`` the source of its class and of every module
    of the user's that this imports; ``preprocess`` is the repr of its Preprocess; ``variant`` what follows the colon of
    its spec, which may say what is read of the same weights (``spcl:cls``). ``factory`` is the qualified name of the
    class or function that builds it; ``configuration_sha256`` covers what is no tensor: attributes of its modules;
    ``files_sha256`` the bytes of the files that its spec names. ``name`` is what the user typed and what the
    leaderboard shows. ``by_view``: it embeds images by their views, so what it gives is kept by them, too.
    """

    name: str
    card: EncoderCard
    weights_sha256: str
    source_sha256: str
    preprocess: str
    parameters: int
    variant: str = ""
    factory: str = ""
    configuration_sha256: str = ""
    files_sha256: str = ""
    by_view: bool = False

    @property
    def parts(self) -> Mapping[str, str]:
        """The ingredients of its identity by name, as a person is told of them when one has changed."""
        return {
            "encoder weights": self.weights_sha256,
            "encoder source": self.source_sha256,
            "encoder class": self.factory,
            "encoder configuration": self.configuration_sha256,
            "encoder files": self.files_sha256,
            "encoder variant": self.variant,
            "preprocessing": self.preprocess,
        }

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the parts."""
        return hashlib.sha256(json.dumps(dict(self.parts), sort_keys=True).encode()).hexdigest()
