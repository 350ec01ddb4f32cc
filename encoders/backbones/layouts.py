"""Plain ViTs as others publish them: MAE, Medical-MAE, MRM and PaCX-MAE's stage 1, pretrained or fine-tuned."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import Tensor

from cxrbench.encoder import EncoderCard, EncoderRequest, Features
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone, read_encoder
from cxrbench.encoders.backbones.encoder import Pooling, ViTEncoder, encoder_of, gray_preprocess, parse_pooling
from cxrbench.encoders.backbones.vit import ViTConfig, infer_config
from cxrbench.encoders.families.published.recognised import of_file, of_names
from cxrbench.encoders.sidecar import IMAGES, read_sidecar, told
from cxrbench.errors import UserError
from cxrbench.files.containers import strip_prefixes

UNUSED = ("decoder", "mask_token", "bert_encoder.", "bert_mlp.", "head.", "img_mlp.", "pos_weight_", "pos_cat.",
          "Tpar", "logit_scale")  # fmt: skip


class NormAfterPooling(ViTEncoder):
    """A ViT fine-tuned with MAE's ``global_pool``: its last norm is of the mean of the patch tokens, not of tokens."""

    def forward(self, images: Tensor) -> Features:
        """Images [B, channels, size, size] to pooled [B, D] and the maps of four evenly spaced blocks."""
        _, maps = self.backbone(images)
        return Features(self.backbone.norm(maps[-1].flatten(2).mean(dim=2)), maps)


def load_plain_vit(request: EncoderRequest, *, method: str, default: Pooling, without_weights: str) -> ViTEncoder:
    """``METHOD[:mean|cls|mean+sd]@WEIGHTS``: our encoder.safetensors or .ckpt, or one of the published layouts.

    Where nothing follows the colon, a file of ours is read at the pooling that it was trained on, if it says so, a file
    of others as its sidecar says, else at ``default``. In files of others the decoder, a report tower (MRM, MaCo) and
    the classifier are left out, and all else must fit. Those that were fine-tuned on the mean have ``fc_norm`` for
    ``norm`` and can be read there only. Raises UserError.
    """
    if request.weights is None:
        raise UserError(f"{method} has no weights for real images: {without_weights}")
    parse_pooling(request, default)  # a slip of the pen is told before a file is read
    path = Path(request.weights).expanduser()
    found = read_encoder(path, method)
    if found.architecture is not None:
        pooling = parse_pooling(request, found.facts.get("options", {}).get("pooling", default))
        backbone = TrainedBackbone(found.state, ViTConfig(**found.architecture), found.preprocess, found.card)
        return encoder_of(backbone, path, pooling)
    state = strip_prefixes(found.state, ("model.",))  # PaCX-MAE's stage 1 is a Lightning checkpoint
    tuned, said = "fc_norm.weight" in state, read_sidecar(path).pooling
    pooling = parse_pooling(request, "mean" if tuned else cast(Pooling, said or default))
    if tuned and pooling != "mean":
        raise UserError(f"{path} was fine-tuned on the mean of its patches, its cls token is untrained: leave out :cls")
    published = published_backbone(with_norm(state) if tuned else state, found.card, path)
    read = encoder_of(published, path, pooling, UNUSED)
    return NormAfterPooling(read.backbone, read.preprocess, read.card, "mean") if tuned else read


def with_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict with ``fc_norm`` under the name ``norm``."""
    return {re.sub(r"^fc_norm\.", "norm.", name): value for name, value in state.items()}


def published_backbone(state: Mapping[str, Tensor], card: EncoderCard, path: Path) -> TrainedBackbone:
    """A published state dict, and what can be known of it. Raises UserError where it is no ViT with a CLS token.

    A file does not say how its images were normalized, nor which images they were. Its sidecar does (``FILE.toml``); a
    published one is known by its sha256 or, MRM and MaCo, by its report tower. Anything else of three channels gets
    ImageNet's numbers, with a warning: right for MAE and PaCX-MAE. Medical-MAE is ``cxr:medical-mae-base@FILE``.
    """
    config = infer_config(state, path)
    if not config.class_token:
        raise UserError(f"{path} holds a ViT without cls_token, and this method's has one: pass weights of this method")
    sidecar, entry = read_sidecar(path), of_names(state) or of_file(path)
    preprocess = gray_preprocess(config)
    if entry is not None:
        preprocess = replace(entry.preprocess, size=config.size, channels=preprocess.channels)
        card = entry.card
    own, preprocess = preprocess, sidecar.applied(preprocess)
    if (preprocess.size, preprocess.channels) != (config.size, config.channels):
        raise UserError(
            f"{sidecar.path} says {preprocess.size} pixels and {preprocess.channels} channel(s); the ViT in {path} is "
            f"of {config.size} and {config.channels}"
        )
    card = told(sidecar, own, card, known=IMAGES if entry else ())
    return TrainedBackbone(state, config, preprocess, card)
