"""Trained trunks on disk: what pretraining writes and what an encoder reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cxrbench.atomic import atomic_path
from cxrbench.checkpoints import read_metadata, read_state_dict
from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.encoders.vit import ViT, ViTConfig, infer_config
from cxrbench.errors import UserError

KEY = "cxrbench"  # of our JSON, in a safetensors header and in a Lightning checkpoint
TRUNK = "objective.trunk."  # prefix of the trunk's parameters in a Lightning checkpoint of ours


@dataclass(frozen=True)
class TrainedTrunk:
    """A ViT's weights, and what their file says of them. ``preprocess`` is None where the file does not say."""

    state: Mapping[str, Tensor]
    config: ViTConfig
    preprocess: Preprocess | None
    card: EncoderCard


def write_trunk(path: Path, trunk: ViT, facts: Mapping[str, Any], *, half: bool) -> None:
    """Write the trunk as safetensors (float16 if ``half``), ``facts`` as JSON in its header; whole or not at all."""
    dtype = torch.float16 if half else torch.float32
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in trunk.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={KEY: json.dumps(facts, sort_keys=True)})


def trunk_facts(method: str, config: ViTConfig, preprocess: Preprocess, card: EncoderCard) -> dict[str, Any]:
    """The facts without which a file of ours could not be loaded or marked."""
    return {"method": method, "arch": asdict(config), "preprocess": asdict(preprocess), "card": asdict(card)}


def read_trunk(path: Path, method: str) -> TrainedTrunk:
    """Read a file of ours, or a ViT with timm's names (bare, or under ``model`` as OCL and MAE publish).

    Raises UserError where the file is unreadable, holds code, is no ViT, or was trained by another method.
    """
    state = read_state_dict(path)
    if any(key.startswith(TRUNK) for key in state):
        state = {key.removeprefix(TRUNK): tensor for key, tensor in state.items() if key.startswith(TRUNK)}
    text = read_metadata(path).get(KEY)
    if text is None:
        return TrainedTrunk(state, infer_config(state, path), None, EncoderCard(method))
    facts = json.loads(text)
    if facts["method"] != method:
        raise UserError(f"{path} was trained by {facts['method']}: name it {facts['method']}@{path}")
    card = EncoderCard(**facts["card"] | {"pretrained_on": tuple(facts["card"]["pretrained_on"])})
    numbers = {name: tuple(facts["preprocess"][name]) for name in ("mean", "std")}
    return TrainedTrunk(state, ViTConfig(**facts["arch"]), Preprocess(**facts["preprocess"] | numbers), card)
