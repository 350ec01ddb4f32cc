"""Weights that a training begins from, for every method: ``--init FILE`` or ``--init timm:NAME``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderRequest, Preprocess
from cxrbench.encoders.backbones.checkpoint import method_of, read_encoder
from cxrbench.encoders.backbones.encoder import gray_preprocess
from cxrbench.encoders.backbones.layouts import UNUSED, published_backbone, with_norm
from cxrbench.encoders.backbones.vit import ViT, ViTConfig, infer_config
from cxrbench.encoders.families.timm import load as load_timm
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_checkpoint, read_state_dict
from cxrbench.files.containers import PREFIXES, holds_tensors
from cxrbench.files.digests import file_sha256

RANDOM = "random"
TIMM = "timm:"
WRAPPED = (*PREFIXES, "model.", "encoder.", "image_encoder.model.")  # what stands before every name in files of others
TOWER = "image_encoder.model."  # of the backbone in files of FaNe
HEADS = (*UNUSED, "head_dist.", "fc.", "predictor.")
SUMMED = (3, 1)  # channels of weights and of a backbone that can begin from them
UNCOMPARED = ("channels", "learned_positions")  # of a ViT: the weights' own, where a method takes their shape
KERNEL, POSITIONS, VIEW_ROWS = "patch_embed.proj.weight", "pos_embed", "modality"


@dataclass(frozen=True)
class InitialWeights:
    """A backbone's weights under timm's names (a ViT) or torchvision's (a ResNet), heads and decoders left out.

    ``name``: as they were asked for. ``digest``: of the file, "" where there is none. ``config``: the ViT's shape,
    None where they are no ViT's. ``preprocess``: what its images were; None: not known. ``card``: what it has seen.
    """

    name: str
    state: Mapping[str, Tensor]
    config: ViTConfig | None
    preprocess: Preprocess | None
    card: EncoderCard
    digest: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """For the model card: JSON values."""
        return {"weights": self.name, "of": self.card.method, "licence": self.card.licence, "sha256": self.digest}


@dataclass(frozen=True)
class SourceWeights:
    """What a method's own source begins from, as is said or done at ``cited``.

    ``spec``: where these weights are to be had, for ``--init``; "": nowhere.
    """

    cited: str
    words: str
    spec: str = ""


def read_initial(spec: str) -> InitialWeights:
    """``timm:NAME[@FILE]``, or a file: ours, or as timm, torchvision, MAE, DeiT, I-JEPA, MRM or FaNe publish.

    Of an I-JEPA file it is the target encoder, of a Lightning checkpoint of ours what would be kept. Raises UserError
    where there is no such file, where it holds no backbone, and where the hub is not to be had.
    """
    if spec.startswith(TIMM):
        return _of_timm(spec)
    path = Path(spec).expanduser()
    method = method_of(path)
    if method is None:
        return _of_others(path, spec)
    found = read_encoder(path, method)
    state = _tower(found.state)
    config = infer_config(state, path) if KERNEL in state else None
    if config is not None and found.architecture is not None and set(found.architecture) <= set(vars(config)):
        config = ViTConfig(**found.architecture)
    return InitialWeights(spec, state, config, found.preprocess, found.card, file_sha256(path)[:16])


def _of_timm(spec: str) -> InitialWeights:
    """A model of timm, from the hub or with the weights of a file."""
    name, _, file = spec.removeprefix(TIMM).partition("@")
    encoder = load_timm(EncoderRequest("timm", name, file or None))
    state = leave_out(encoder.backbone.state_dict(), HEADS, spec)
    config = infer_config(state, spec) if KERNEL in state and POSITIONS in state else None
    digest = file_sha256(Path(file).expanduser())[:16] if file else ""
    return InitialWeights(spec, state, config, encoder.preprocess, encoder.card, digest)


def _of_others(path: Path, spec: str) -> InitialWeights:
    """The backbone in a file of others. Raises UserError."""
    jepa = holds_tensors(read_checkpoint(path).get("target_encoder"))
    state = read_state_dict(path, ("target_encoder",) if jepa else None, WRAPPED)
    state = _tower(state)
    card, preprocess, config = EncoderCard(path.name), None, None
    if KERNEL in state:
        state = state if "norm.weight" in state else with_norm(state)
        config = infer_config(state, path)
        preprocess = gray_preprocess(config)
        if config.class_token:
            found = published_backbone(state, card, path)
            card, preprocess = found.card, found.preprocess
    return InitialWeights(spec, leave_out(state, HEADS, path), config, preprocess, card, file_sha256(path)[:16])


def _tower(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image backbone alone, where a file holds more towers than one."""
    own = {name.removeprefix(TOWER): value for name, value in state.items() if name.startswith(TOWER)}
    return own or dict(state)


def refuse_misfit(initial: InitialWeights, wanted: ViTConfig) -> ViTConfig:
    """The shape of the weights, which is that of ``wanted``, or of three channels for one. UserError: what differs."""
    found = initial.config
    if found is None:
        raise UserError(
            f"{initial.name} holds no ViT with timm's parameter names, as {shape(wanted)} is: pass weights of one"
        )
    if shape(found) != shape(wanted):
        raise UserError(
            f"{initial.name} is a ViT {shape(found)}, not {shape(wanted)}: pass it as --arch {shape(found)}"
        )
    if found.heads != wanted.heads:
        raise UserError(f"{initial.name} has {found.heads} heads, and --arch gives {wanted.heads}: pass other weights")
    for has, wants, what in (
        (found.class_token, wanted.class_token, "a CLS token"),
        (found.qk_norm, wanted.qk_norm, "norms of queries and keys"),
    ):
        if has != wants:
            holds, needs = ("with", "without") if has else ("without", "with")
            raise UserError(
                f"{initial.name} is a ViT {holds} {what}, and this method's is one {needs}: pass other weights"
            )
    if found.channels != wanted.channels and (found.channels, wanted.channels) != SUMMED:
        raise UserError(f"{initial.name} is of {found.channels} channels, not {wanted.channels}: pass other weights")
    return found


def shape(config: ViTConfig) -> str:
    """As ``--arch`` takes it: ``768x12p16s224``."""
    return f"{config.width}x{config.depth}p{config.patch}s{config.size}"


@torch.no_grad()
def fill(backbones: Iterable[nn.Module], initial: InitialWeights) -> list[str]:
    """Copy the weights into backbones, all of one shape; all must fit. Returns what is to be said of how. UserError.

    A backbone of one channel takes the sum over three of the patch kernels: what gray images, written into three
    channels, would give. Positions are the weights' own: where the backbone's are fixed they stay fixed.
    """
    notes: dict[str, None] = {}
    for backbone in backbones:
        state, own = dict(initial.state), backbone.state_dict()
        if isinstance(backbone, ViT):
            found = refuse_misfit(initial, backbone.config)
            if (found.channels, backbone.config.channels) == SUMMED:
                state[KERNEL] = state[KERNEL].sum(dim=1, keepdim=True)
                notes["its patch kernels are summed over the three channels"] = None
            trained = isinstance(backbone.pos_embed, nn.Parameter)
            if not trained and not torch.allclose(state[POSITIONS].float(), own[POSITIONS], atol=1e-3):
                notes["its positions are not sin-cos: they are taken over, and stay as they are"] = None
            if VIEW_ROWS in own and VIEW_ROWS not in state:
                state[VIEW_ROWS] = own[VIEW_ROWS]
                notes["it knows no views: their rows begin at random"] = None
        load_strict(backbone, state, initial.name)
    return list(notes)
