"""``open_clip:NAME[@FILE-OR-TAG]``: image-text models of open_clip, BiomedCLIP among them, with their text tower."""

import difflib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import CustomTextCLIP, convert_to_custom_text_state_dict
from open_clip.pretrained import download_pretrained_from_hf
from torch import Tensor, nn

from cxrbench.encoder import EncoderCard, EncoderPlugin, EncoderRequest, Features, Preprocess, named_weights
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.families.model_config import four_blocks, open_clip_preprocess
from cxrbench.encoders.families.published.recognised import card_of, card_of_folder, of_file
from cxrbench.encoders.families.shown import check_shown
from cxrbench.encoders.families.timm import map_stages
from cxrbench.encoders.sidecar import IMAGES, read_sidecar, told
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import first_line, leave_out, load_strict, read_state_dict

LOCAL, HUB = "local-dir:", "hf-hub:"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
           "model.safetensors")  # fmt: skip
# OpenAI's files state their sizes as tensors; old transformers saved a text tower's position numbers.
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "text.transformer.embeddings.position_ids")


class OpenCLIPEncoder(nn.Module):
    """An open_clip model. ``pooled``: the image embedding after the projection, not normalised.

    After, because there it can be compared with ``encode_text``, for retrieval and zero-shot classification. ``maps``:
    a ViT's four evenly spaced blocks, or a CNN's last four stages.
    """

    def __init__(self, model: CustomTextCLIP, name: str, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.visual: Any = model.visual
        self.text_tower: Any = model.text
        self.logit_scale: Tensor
        self.register_buffer("logit_scale", model.logit_scale.detach().exp())
        self.name, self.preprocess, self.card = name, preprocess, card
        self.stages = stages_of(self.visual)

    def forward(self, images: Tensor) -> Features:
        """Embed [B, 3, size, size]."""
        if not self.stages:
            return Features(self.visual(images))
        output = self.visual.forward_intermediates(images, indices=self.stages)
        return Features(output["image_features"], tuple(output["image_intermediates"]))

    def encode_text(self, texts: list[str]) -> Tensor:
        """Text embeddings [len(texts), D] in the space of ``pooled``, not normalised. UserError without a tokeniser."""
        try:
            with quiet(), hub():
                tokens = open_clip.get_tokenizer(self.name)(texts)
        except Exception as error:  # the hub's client and the tokenisers raise a dozen kinds
            raise UserError(f"cannot fetch the tokeniser of open_clip:{self.name} ({first_line(error)})") from error
        return self.text_tower(tokens.to(self.logit_scale.device))


def stages_of(visual: Any) -> list[int]:
    """Which intermediate features of an open_clip image tower are the maps; empty if it has no four."""
    if not hasattr(visual, "forward_intermediates"):
        return []
    if hasattr(visual, "trunk"):
        return map_stages(visual.trunk)
    if hasattr(visual, "transformer"):
        return four_blocks(len(visual.transformer.resblocks))
    return [1, 2, 3, 4]  # CLIP's ResNet: the stem, then four stages


@contextmanager
def quiet() -> Iterator[None]:
    """Keep open_clip's remarks off the root logger, and make a wrong activation function an error."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="QuickGELU mismatch")
            yield
    finally:
        root.setLevel(level)


def load(request: EncoderRequest) -> OpenCLIPEncoder:
    """Build a built-in name with a file or a pretrained tag, or a hub repository or folder with its own weights."""
    name, weights = request.variant, request.weights
    if not name:
        raise UserError(
            "open_clip needs a model: open_clip:NAME@FILE-OR-TAG, open_clip:hf-hub:ORGANISATION/REPOSITORY or "
            "open_clip:FOLDER"
        )
    if Path(name).expanduser().is_dir():
        name = f"{LOCAL}{Path(name).expanduser()}"
    builtin = not name.startswith((LOCAL, HUB))
    if builtin and name not in open_clip.list_models():
        close = difflib.get_close_matches(name, open_clip.list_models(), n=3)
        raise UserError(f"open_clip has no model {name!r}" + (f": did you mean {' or '.join(close)}?" if close else ""))
    if builtin and weights is None:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)[:6])
        raise UserError(
            f"open_clip:{name} needs weights: open_clip:{name}@FILE" + (f" or a tag: {tags}" if tags else "")
        )
    try:
        with quiet(), hub():
            path = find_weights(name, weights)
            # Built without weights, which are then read without running them. A text tower of its own in every case.
            model: Any = open_clip.create_model(
                name,
                pretrained=weights if builtin else None,
                load_weights=False,
                pretrained_text=False,
                force_custom_text=True,
            )
    except UserError:
        raise
    except Exception as error:  # open_clip and the hub's client raise a dozen kinds
        raise UserError(
            f"cannot load open_clip:{name} ({type(error).__name__}: {first_line(error)}); without network, pass a "
            f"folder with open_clip_config.json, or NAME@FILE"
        ) from error
    if type(model) is not CustomTextCLIP:
        raise UserError(f"open_clip:{name} is a {type(model).__name__}: only CLIP-like models are supported")
    load_strict(model, to_custom_text(model, read_state_dict(path), path), path)
    try:
        visual: Any = model.visual
        own = open_clip_preprocess(visual.preprocess_cfg)
    except UserError as error:
        raise UserError(f"open_clip:{name} cannot be used: {error}") from error
    folder = Path(name.removeprefix(LOCAL)) if name.startswith(LOCAL) else None
    sidecar = read_sidecar(folder or path).of_one_pooling()
    entry = of_file(path) if builtin else None
    if entry is not None:
        own, card, known = entry.preprocess, entry.card, IMAGES
    elif not builtin:
        known = said_beside(path)
        card = card_of_folder("open_clip", folder, own, f"CLIP {name}") if folder else None
        card = card or card_of("open_clip", name, f"CLIP {name}", preprocess=own)
    else:  # a tag comes with its own numbers; a file is taken for one of natural images
        card, known = EncoderCard(f"CLIP {name}"), IMAGES if open_clip.get_pretrained_cfg(name, weights or "") else ()
    encoder = OpenCLIPEncoder(model, name, sidecar.applied(own), told(sidecar, own, card, known=known))
    check_shown(sidecar, encoder, own)
    return encoder


def said_beside(path: Path) -> tuple[str, ...]:
    """What of the preprocessing the configuration beside weights says; open_clip has CLIP's numbers for the rest."""
    try:
        config = json.loads((path.parent / "open_clip_config.json").read_text(encoding="utf-8"))["preprocess_cfg"]
    except (OSError, ValueError, KeyError):
        config = {}
    return tuple(key for key in IMAGES if key not in ("mean", "std") or key in config)


def find_weights(name: str, weights: str | None) -> Path:
    """The weights file of a spec, downloaded if it is a tag's or a hub repository's."""
    if weights is not None:
        config = open_clip.get_pretrained_cfg(name, weights)
        path = Path(open_clip.download_pretrained(config) if config else weights).expanduser()
        if not path.is_file():
            raise UserError(f"open_clip:{name}@{weights}: there is no such file, and {name} has no such pretrained tag")
        return path
    if name.startswith(HUB):
        return Path(download_pretrained_from_hf(name.removeprefix(HUB)))
    folder = Path(name.removeprefix(LOCAL))
    found = [folder / file for file in WEIGHTS if (folder / file).is_file()]
    if not found:
        raise UserError(f"{folder} has no weights: one of {', '.join(WEIGHTS)}")
    return found[0]


def to_custom_text(model: Any, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Published weights (open_clip's old and new layout, OpenAI's) under the names of a model with a ``text`` tower."""
    state = convert_to_custom_text_state_dict(convert_state_dict(model, state))
    if "logit_scale" in state:  # a number, or a vector of one
        state["logit_scale"] = torch.reshape(state["logit_scale"], model.logit_scale.shape)
    return leave_out(state, NOT_WEIGHTS, path)


def reads(request: EncoderRequest) -> tuple[Path, ...] | None:
    """The file of weights or the folder that a spec names; None where a hub answers."""
    path = Path(request.variant or "").expanduser()
    if request.weights is not None:
        return None if (request.variant or "").startswith((LOCAL, HUB)) else named_weights(request)
    return (path,) if request.variant and path.is_dir() else None


PLUGIN = EncoderPlugin(
    load=load,
    summary="image-text models of open_clip, with their text tower: BiomedCLIP, CheXzero, ...",
    usage="open_clip:NAME@FILE-OR-TAG | open_clip:hf-hub:REPO | open_clip:FOLDER",
    reads=reads,
)
