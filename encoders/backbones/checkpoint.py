"""Trained encoders on disk: what pretraining writes and what an encoder reads."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cxrbench.encoder import EncoderCard, Preprocess
from cxrbench.encoders.backbones.vit import ViTConfig
from cxrbench.encoders.sidecar import refuse_sidecar
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import read_checkpoint, read_metadata, read_state_dict, write_weights
from cxrbench.files.records import parsed

KEY = "cxrbench"  # of our JSON, in a safetensors header and in a Lightning checkpoint
KEPT = "kept"  # of the encoder's weights in a Lightning checkpoint of ours


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder's weights, and what their file says of them.

    ``architecture`` and ``preprocess`` are None where the file does not say: weights that others published.
    """

    state: Mapping[str, Tensor]
    architecture: Mapping[str, Any] | None
    preprocess: Preprocess | None
    card: EncoderCard
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedBackbone:
    """A ViT's weights, and what their file says of them. ``preprocess`` is None where the file does not say."""

    state: Mapping[str, Tensor]
    config: ViTConfig
    preprocess: Preprocess | None
    card: EncoderCard


def write_encoder(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, Any], *, half: bool) -> None:
    """Write weights as safetensors (floats as float16 if ``half``), ``facts`` as JSON and a checksum in its header.

    The file is there whole or not at all.
    """
    dtype = torch.float16 if half else torch.float32
    stored = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    write_weights(path, stored, {KEY: json.dumps(facts, sort_keys=True)})


def encoder_facts(
    method: str, architecture: Mapping[str, Any], preprocess: Preprocess, card: EncoderCard
) -> dict[str, Any]:
    """The facts without which a file of ours could not be loaded or marked."""
    return {"method": method, "arch": dict(architecture), "preprocess": asdict(preprocess), "card": asdict(card)}


def method_of(path: Path) -> str | None:
    """By which method of ours the weights in a file were trained; None for a file of others. Raises UserError."""
    text = read_metadata(path).get(KEY)
    return None if text is None else str(parsed(text, path).get("method"))


def read_encoder(path: Path, method: str) -> TrainedEncoder:
    """Read ``encoder.safetensors`` or a Lightning checkpoint of ours, or the state dict in a file of others.

    Raises UserError where the file is unreadable, holds code, or was trained by another method, and where a file of
    ours has one beside it that says it once more.
    """
    text = read_metadata(path).get(KEY)
    if text is None:
        return TrainedEncoder(read_state_dict(path), None, None, EncoderCard(method))
    facts = parsed(text, path)
    if facts.get("method") != method:
        raise UserError(f"{path} was trained by {facts.get('method')}: name it {facts.get('method')}@{path}")
    refuse_sidecar(path)
    content = read_checkpoint(path)
    state = content.get(KEPT, content)
    try:
        said: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts["card"].items()
        }
        card = EncoderCard(**said)
        numbers = {name: tuple(facts["preprocess"][name]) for name in ("mean", "std")}
        return TrainedEncoder(state, facts["arch"], Preprocess(**facts["preprocess"] | numbers), card, facts)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is not described in full (its facts lack or do not know {error})") from error
