"""Plain ViTs as others publish them: MAE, Medical-MAE, MRM and PaCX-MAE's stage 1, pretrained or fine-tuned."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from cxrbench.encoder import EncoderCard, EncoderRequest, Features
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone, read_encoder
from cxrbench.encoders.backbones.encoder import Pooling, ViTEncoder, encoder_of, gray_preprocess, parse_pooling
from cxrbench.encoders.backbones.vit import ViTConfig, infer_config
from cxrbench.errors import UserError
from cxrbench.files.containers import strip_prefixes

UNUSED = ("decoder", "mask_token", "bert_encoder.", "bert_mlp.", "head.")
MRM_CARD = EncoderCard("MRM", "MIT", ("mimic",))
MRM_MEAN, MRM_STD = (0.4978,), (0.2449,)


class NormAfterPooling(ViTEncoder):
    """A ViT fine-tuned with MAE's ``global_pool``: its last norm is of the mean of the patch tokens, not of tokens."""

    def forward(self, images: Tensor) -> Features:
        """Images [B, channels, size, size] to pooled [B, D] and the maps of four evenly spaced blocks."""
        _, maps = self.backbone(images)
        return Features(self.backbone.norm(maps[-1].flatten(2).mean(dim=2)), maps)


def load_plain_vit(request: EncoderRequest, *, method: str, default: Pooling, without_weights: str) -> ViTEncoder:
    """``METHOD[:mean|cls|mean+sd]@WEIGHTS``: our encoder.safetensors or .ckpt, or one of the published layouts.

    Where nothing follows the colon, a file of ours is read at the pooling that it was trained on, if it says so, else
    at ``default``. In files of others the decoder, MRM's report decoder and the classifier are left out, and all else
    must fit. Those that were fine-tuned on the mean have ``fc_norm`` for ``norm`` and can be read there only. Raises
    UserError.
    """
    if request.weights is None:
        raise UserError(f"{method} has no weights for real images: {without_weights}")
    path = Path(request.weights).expanduser()
    found = read_encoder(path, method)
    if found.architecture is not None:
        pooling = parse_pooling(request, found.facts.get("options", {}).get("pooling", default))
        backbone = TrainedBackbone(found.state, ViTConfig(**found.architecture), found.preprocess, found.card)
        return encoder_of(backbone, path, pooling)
    state = strip_prefixes(found.state, ("model.",))  # PaCX-MAE's stage 1 is a Lightning checkpoint
    if "fc_norm.weight" not in state:
        return encoder_of(published_backbone(state, found.card, path), path, parse_pooling(request, default), UNUSED)
    if parse_pooling(request, "mean") != "mean":
        raise UserError(f"{path} was fine-tuned on the mean of its patches, its cls token is untrained: leave out :cls")
    read = encoder_of(published_backbone(with_norm(state), found.card, path), path, "mean", UNUSED)
    return NormAfterPooling(read.backbone, read.preprocess, read.card, "mean")


def with_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same state dict with ``fc_norm`` under the name ``norm``."""
    return {re.sub(r"^fc_norm\.", "norm.", name): value for name, value in state.items()}


def published_backbone(state: Mapping[str, Tensor], card: EncoderCard, path: Path) -> TrainedBackbone:
    """A published state dict, and what can be known of it. Raises UserError where it is no ViT with a CLS token.

    A file does not say how its images were normalised, nor which images they were. MRM's is known by its report
    decoder. Anything else of three channels gets ImageNet's numbers: right for MAE, PaCX-MAE and Medical-MAE's
    fine-tuning but for ChestX-ray14 (.5056, .252), near its pretraining, which normalised each data set by itself.
    """
    config = infer_config(state, path)
    if not config.class_token:
        raise UserError(f"{path} holds a ViT without cls_token, and this method's has one: pass weights of this method")
    preprocess = gray_preprocess(config)
    if any(name.startswith("bert_encoder.") for name in state):
        return TrainedBackbone(state, config, replace(preprocess, mean=MRM_MEAN, std=MRM_STD), MRM_CARD)
    return TrainedBackbone(state, config, preprocess, card)
