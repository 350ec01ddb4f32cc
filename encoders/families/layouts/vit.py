"""Plain ViTs in published files, with or without a CLS token, and the ViT-g of CheXagent."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.encoders.backbones.checkpoint import TrainedBackbone
from cxrbench.encoders.backbones.encoder import ViTEncoder, encoder_of
from cxrbench.encoders.backbones.layouts import UNUSED
from cxrbench.encoders.backbones.vit import infer_config
from cxrbench.encoders.families.layouts.files import encoder_state
from cxrbench.encoders.families.model_config import four_blocks, to_grid
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import load_strict, read_checkpoint

HEAD_OF_GIANT = 88  # channels of an attention head of EVA's ViT-g


def load(entry: PublishedEncoder, path: Path) -> ViTEncoder:
    """MAE's layout, I-JEPA's, or one of theirs behind a prefix; decoders and report towers left out. UserError."""
    state = encoder_state(entry, path)
    config = infer_config(state, path)
    jepa = entry.loader == "jepa"
    if config.class_token == jepa:
        raise UserError(f"{path} holds a ViT {'with' if jepa else 'without'} CLS token: it is not {entry.title}'s file")
    if (config.size, config.channels) != (entry.preprocess.size, 3):
        raise UserError(
            f"{path} holds a ViT of {config.size} pixels and {config.channels} channel(s); {entry.title}'s is of "
            f"{entry.preprocess.size} and 3"
        )
    backbone = TrainedBackbone(state, config, entry.preprocess, entry.card)
    return encoder_of(backbone, path, "mean" if jepa else entry.options["pooling"], UNUSED)


class GiantEncoder(nn.Module):
    """transformers' vision model of BLIP-2. ``pooled``: the CLS token; ``maps``: four evenly spaced blocks."""

    def __init__(self, backbone: Any, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.backbone, self.preprocess, self.card = backbone, preprocess, card
        self.blocks = four_blocks(backbone.config.num_hidden_layers)

    def forward(self, images: Tensor) -> Features:
        """Embed [B, 3, size, size]."""
        output = self.backbone(images, output_hidden_states=True, return_dict=True)
        side = self.preprocess.size // self.backbone.config.patch_size
        maps = tuple(to_grid(output.hidden_states[block + 1], side, side) for block in self.blocks)
        return Features(output.pooler_output, maps)


def load_giant(entry: PublishedEncoder, path: Path) -> GiantEncoder:
    """CheXagent's vision tower: the names that begin with ``vision_model.`` in the folder's shards. UserError."""
    prefix = entry.options["prefix"]
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    whole = {name: value for file in files for name, value in read_checkpoint(file).items()}
    state = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
    kernel = state.get("embeddings.patch_embedding.weight")
    if kernel is None:
        raise UserError(f"{path} has no {prefix}embeddings.patch_embedding.weight: it is not {entry.title}'s folder")
    width, patch = len(kernel), kernel.shape[-1]
    places = state["embeddings.position_embedding"].shape[1] - 1
    if round(places**0.5) * patch != entry.preprocess.size:
        raise UserError(f"{path} is of {round(places**0.5) * patch} pixels, {entry.title} of {entry.preprocess.size}")
    config = transformers.Blip2VisionConfig(
        hidden_size=width, intermediate_size=len(state["encoder.layers.0.mlp.fc1.weight"]), patch_size=patch,
        num_hidden_layers=len({name.split(".")[2] for name in state if name.startswith("encoder.layers.")}),
        num_attention_heads=max(1, width // HEAD_OF_GIANT), image_size=entry.preprocess.size,
    )  # fmt: skip
    with torch.device("cpu"):
        backbone = transformers.Blip2VisionModel(config)
    load_strict(backbone, {name: value.float() for name, value in state.items()}, path)
    return GiantEncoder(backbone, entry.preprocess, entry.card)
