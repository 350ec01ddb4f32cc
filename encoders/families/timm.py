"""``timm:NAME[@FILE]``: any model of timm, with its published weights or those of a file."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.data.config import resolve_model_data_config
from timm.models import load_model_config_from_hf
from torch import Tensor, nn

from cxrbench.encoder import (
    Attentions,
    EncoderCard,
    EncoderPlugin,
    EncoderRequest,
    Features,
    Preprocess,
    named_weights,
    sidecar_path,
)
from cxrbench.encoders.backbones.attentions import ReadAt, recorded
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.families.model_config import four_blocks, timm_preprocess
from cxrbench.encoders.families.published.recognised import card_of, card_of_folder, of_file
from cxrbench.encoders.families.shown import check_shown
from cxrbench.encoders.sidecar import IMAGES, WeightsSidecar, read_sidecar, told
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_state_dict

# What pretraining leaves beside the encoder: decoders and mask tokens of MAE and its kin, MRM's text tower.
LOCAL = "local-dir:"  # before a folder, in timm's words
NOT_THE_ENCODER = ("decoder", "mask_token", "bert_encoder.", "bert_mlp.")
POOLS = {"cls": "token", "mean": "avg"}  # of a ViT, in timm's words
READ_AT: dict[str, ReadAt] = {"token": "cls", "avg": "mean"}


class TimmEncoder(nn.Module):
    """A timm model. ``pooled``: what its classifier would see, pooled as the model pools (CLS, mean, or attention).

    ``maps``: a CNN's last four stages, or a plain ViT's four evenly spaced blocks before the final norm.
    """

    def __init__(self, backbone: Any, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.backbone, self.preprocess, self.card = backbone, preprocess, card
        self.stages = map_stages(backbone)

    def forward(self, images: Tensor) -> Features:
        """Embed [B, channels, size, size]."""
        if not self.stages:
            return Features(self.backbone.forward_head(self.backbone.forward_features(images), pre_logits=True))
        final, maps = self.backbone.forward_intermediates(images, indices=self.stages, output_fmt="NCHW")
        return Features(self.backbone.forward_head(final, pre_logits=True), tuple(maps))

    def attentions(self, images: Tensor) -> Attentions:
        """Of a ViT's blocks. Raises NotApplicableError for a CNN, for windows, and where an attention pool reads."""
        grid = getattr(getattr(self.backbone, "patch_embed", None), "grid_size", None)
        read_at = READ_AT.get(str(getattr(self.backbone, "global_pool", "")))
        if grid is None or not hasattr(self.backbone, "blocks"):
            raise NotApplicableError("its network is no plain ViT, whose patches attend to each other")
        if read_at is None:
            raise NotApplicableError("its embedding is read neither at CLS nor at the mean of its patches")
        return recorded(self.backbone, lambda: self.backbone.forward_features(images), grid, read_at)


def map_stages(backbone: Any) -> list[int]:
    """Which of timm's intermediate features are the maps; empty if the model has no four."""
    if not hasattr(backbone, "forward_intermediates"):
        return []
    strides = [info["reduction"] for info in backbone.feature_info]
    if len(set(strides)) == 1:
        return four_blocks(len(strides)) if len(strides) >= 4 else []
    last_of_stride = {stride: index for index, stride in enumerate(strides)}
    return list(last_of_stride.values())[-4:] if len(last_of_stride) >= 4 else []


def load(request: EncoderRequest) -> TimmEncoder:
    """Build ``timm:NAME`` with published weights, or with the weights of a file in timm's or MAE's layout."""
    name = request.variant
    if not name:
        raise UserError("timm needs a model name: timm:NAME[@FILE], e.g. timm:vit_base_patch16_224")
    if ":" not in name and not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UserError(f"timm has no model {name!r}" + (f": did you mean {' or '.join(close)}?" if close else ""))
    if request.weights is None:
        backbone = download(name)
        own = own_preprocess(name, backbone)
        card = card_of("timm", name, name, backbone.pretrained_cfg.get("license") or "unknown", preprocess=own)
        if ":" not in name:  # timm's own models are of natural images, all of them
            return TimmEncoder(backbone, own, card)
        folder = Path(name.removeprefix(LOCAL)).expanduser()
        sidecar = read_sidecar(folder).of_one_pooling() if folder.is_dir() else WeightsSidecar(sidecar_path(folder), {})
        card = card_of_folder("timm", folder, own, name) if folder.is_dir() else card
        card = told(sidecar, own, card, known=said_by_configuration(name))
    else:
        path = Path(request.weights).expanduser()
        sidecar, entry = read_sidecar(path), of_file(path)
        backbone = from_file(name, path, sidecar.pooling)
        own = entry.preprocess if entry else own_preprocess(name, backbone)
        card = told(sidecar, own, entry.card if entry else EncoderCard(method=name), known=IMAGES if entry else ())
    encoder = TimmEncoder(backbone, sidecar.applied(own), card)
    check_shown(sidecar, encoder, own)
    return encoder


def own_preprocess(name: str, backbone: Any) -> Preprocess:
    """What timm's configuration says of a model's images. Raises UserError where that cannot be done here."""
    try:
        return timm_preprocess(resolve_model_data_config(backbone, use_test_size=True))
    except UserError as error:
        raise UserError(f"timm:{name} cannot be used: {error}") from error


def said_by_configuration(name: str) -> tuple[str, ...]:
    """What the configuration of a folder or a repository says of images; timm fills in ImageNet's for what is missing.

    Resizing that is not named is timm's own in every configuration, and counts as said.
    """
    if name.startswith(LOCAL):
        facts = json.loads((Path(name.removeprefix(LOCAL)).expanduser() / "config.json").read_text(encoding="utf-8"))
        said: Mapping[str, Any] = facts.get("pretrained_cfg", facts)
    else:
        with hub():
            said = load_model_config_from_hf(name.split(":", 1)[1])[0]
    source = {"mean": "mean", "std": "std", "size": "input_size", "channels": "input_size"}
    return tuple(key for key in IMAGES if said.get(source.get(key, key)) or key not in source)


def download(name: str) -> Any:
    """A timm model without its classifier, with published weights. UserError if there are none or no network."""
    try:
        with hub():
            return timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's client raises a dozen kinds, depending on its version
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise UserError(
            f"cannot fetch the weights of timm:{name} ({reason}); without network, pass a file: timm:{name}@FILE"
        ) from error


def from_file(name: str, path: Path, pooling: str | None = None) -> Any:
    """A timm model without its classifier, with the weights in ``path``, loaded strictly; ``pooling``: cls or mean.

    Left out, and logged: the classifier under timm's name for it, decoders, mask tokens. A file that has ``fc_norm`` in
    place of ``norm`` (a ViT fine-tuned with mean pooling) makes the model pool so, too.
    """
    state = read_state_dict(path)
    options: dict[str, Any] = {"global_pool": "avg"} if "fc_norm.weight" in state and "norm.weight" not in state else {}
    if pooling is not None:
        if pooling not in POOLS or "cls_token" not in state:
            raise UserError(f"timm:{name} cannot be read at {pooling!r}: leave pooling out of {path.name}.toml")
        if "fc_norm.weight" not in state:
            options = {"global_pool": POOLS[pooling], "fc_norm": False}
    backbone: Any = timm.create_model(name, pretrained=False, num_classes=0, **options)
    heads = backbone.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    load_strict(backbone, leave_out(state, heads + NOT_THE_ENCODER, path), path)
    return backbone


PLUGIN = EncoderPlugin(
    load=load,
    summary="any model of timm; weights from the hub, or from a file in timm's or MAE's layout",
    usage="timm:NAME[@FILE]",
    reads=named_weights,
)
