"""``hf:REPO-OR-FOLDER``: image models of transformers, with their text tower. A repository's own code is never run."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import transformers
from torch import Tensor, nn
from transformers.utils import logging as hf_logging

from cxrbench.encoder import (
    Attentions,
    EncoderCard,
    EncoderPlugin,
    EncoderRequest,
    Features,
    Preprocess,
    sidecar_path,
)
from cxrbench.encoders.backbones.attentions import checked
from cxrbench.encoders.families.hub import hub
from cxrbench.encoders.families.model_config import four_blocks, hf_preprocess, to_grid
from cxrbench.encoders.families.published.recognised import card_of, card_of_folder
from cxrbench.encoders.families.shown import check_shown
from cxrbench.encoders.families.text_towers import ImageTextModel, ProjectedImageTextModel
from cxrbench.encoders.sidecar import IMAGES, WeightsSidecar, read_sidecar, told
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.checkpoints import first_line, refuse_infinite
from cxrbench.files.containers import listed


@dataclass(frozen=True)
class ModelFamily:
    """How one model type of transformers is loaded and pooled.

    ``pooling``: ``cls``, the CLS token after the last norm (ViT, DINOv2 and RAD-DINO, whose extra poolers are untrained
    or the same thing); ``mean``, the mean of the patch tokens after it (I-JEPA has no CLS); ``pooler``, the trained
    pooler's output (CLIP: the CLS token after its norm, before the projection; SigLIP: attention pooling).
    """

    model: str
    pooling: Literal["cls", "mean", "pooler"]
    options: dict[str, Any] = field(default_factory=dict)
    interpolates: bool = False  # the model fits its positions to other image sizes without being asked
    text: Literal["", "projected", "pooled"] = ""  # a text tower, and what texts are compared with


FAMILIES = {
    "vit": ModelFamily("ViTModel", "cls", {"add_pooling_layer": False}),
    "dinov2": ModelFamily("Dinov2Model", "cls", interpolates=True),
    "dinov2_with_registers": ModelFamily("Dinov2WithRegistersModel", "cls", interpolates=True),
    "dinov3_vit": ModelFamily("DINOv3ViTModel", "cls", interpolates=True),  # rotary positions
    "ijepa": ModelFamily("IJepaModel", "mean", {"add_pooling_layer": False}),
    "clip": ModelFamily("CLIPModel", "pooler", text="projected"),
    "clip_vision_model": ModelFamily("CLIPVisionModel", "pooler"),
    "siglip": ModelFamily("SiglipModel", "pooler", text="pooled"),
    "siglip_vision_model": ModelFamily("SiglipVisionModel", "pooler"),
}
# Weights of a checkpoint that an image encoder does not use: classifiers, untrained poolers, decoders, the text tower.
NOT_THE_ENCODER = ("classifier.", "pooler.", "decoder.", "lm_head.", "text_model.", "text_projection.",
                   "visual_projection.", "logit_scale", "logit_bias", "embeddings.mask_token")  # fmt: skip
SAID_AS = {"mean": "image_mean", "std": "image_std", "interpolation": "resample"}  # in preprocessor_config.json
UNUSED = ("embeddings.mask_token",)  # drawn anew if missing: inference never masks


class HFEncoder(nn.Module):
    """A transformers vision model. ``maps``: the outputs of four evenly spaced blocks, without CLS and registers."""

    def __init__(self, backbone: Any, family: ModelFamily, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.backbone, self.family, self.preprocess, self.card = backbone, family, preprocess, card
        self.blocks = four_blocks(backbone.config.num_hidden_layers)
        self.options = {"output_hidden_states": True, "return_dict": True}
        if preprocess.size != backbone.config.image_size and not family.interpolates:
            self.options["interpolate_pos_encoding"] = True

    def forward(self, images: Tensor) -> Features:
        """Embed [B, channels, size, size]."""
        output = self.backbone(images, **self.options)
        side = self.preprocess.size // self.backbone.config.patch_size
        tokens = output.last_hidden_state
        pooled = {
            "cls": lambda: tokens[:, 0],
            "mean": lambda: tokens[:, -side * side :].mean(dim=1),
            "pooler": lambda: output.pooler_output,
        }[self.family.pooling]()
        # hidden_states[0] is the embedding, so block k's output is hidden_states[k + 1]
        return Features(pooled, tuple(to_grid(output.hidden_states[block + 1], side, side) for block in self.blocks))

    def attentions(self, images: Tensor) -> Attentions:
        """Of all blocks; transformers' eager attention alone gives it out. Raises NotApplicableError for SigLIP."""
        if self.family.pooling == "pooler" and "siglip" in self.backbone.config.model_type:
            raise NotApplicableError("its embedding is read by an attention pool, not at CLS or the mean of patches")
        side = self.preprocess.size // self.backbone.config.patch_size
        before = self.backbone.config._attn_implementation
        try:
            self.backbone.set_attn_implementation("eager")
            output = self.backbone(images, **self.options, output_attentions=True)
        finally:
            self.backbone.set_attn_implementation(before)
        return checked(output.attentions, (side, side), "mean" if self.family.pooling == "mean" else "cls")


class HFImageTextEncoder(HFEncoder, ImageTextModel):
    """SigLIP: texts are compared with ``pooled``."""


class HFProjectedEncoder(HFEncoder, ProjectedImageTextModel):
    """CLIP: texts are compared with what ``project`` makes of ``pooled``."""


KINDS = {"": HFEncoder, "pooled": HFImageTextEncoder, "projected": HFProjectedEncoder}
"""By what texts are compared with."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own load report: what does not fit is our error, in one line."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


def load(request: EncoderRequest) -> HFEncoder:
    """Build the encoder of a repository or folder in transformers' layout: config, weights, image processor."""
    source = request.variant
    if not source or request.weights is not None:
        raise UserError("hf takes a repository or a folder: hf:REPO-OR-FOLDER, e.g. hf:microsoft/rad-dino")
    return build(source)


def build(source: str, revision: str | None = None) -> HFEncoder:
    """As ``load``; ``revision``: which state of the repository. Raises UserError."""
    folder = Path(source).expanduser()
    local = folder.is_dir()
    location, at = (str(folder), {}) if local else (source, {"revision": revision} if revision else {})
    if local and not (folder / "config.json").is_file():
        raise UserError(f"hf:{source} is a folder without config.json: give one that save_pretrained wrote")
    try:
        with quiet(), nullcontext() if local else hub():
            config = transformers.AutoConfig.from_pretrained(location, trust_remote_code=False, **at)
            family = family_of(source, config.model_type)
            model, report = getattr(transformers, family.model).from_pretrained(
                location, trust_remote_code=False, output_loading_info=True, **at, **family.options
            )
            processor = transformers.AutoImageProcessor.from_pretrained(location, trust_remote_code=False, **at)
            said, _ = transformers.BaseImageProcessor.get_image_processor_dict(location, **at)
    except UserError:
        raise
    except Exception as error:  # transformers and the hub's client raise a dozen kinds
        raise UserError(why_not_loaded(source, folder, error)) from error
    check_report(source, family, report)
    refuse_infinite(model.named_parameters(), f"hf:{source}")
    backbone = model.vision_model if family.text else model
    method = f"{config.model_type} {source}"
    try:
        preprocess = hf_preprocess(processor.to_dict(), backbone.config.num_channels)
    except UserError as error:
        raise UserError(f"hf:{source} cannot be used: {error}") from error
    sidecar = read_sidecar(folder) if local else WeightsSidecar(sidecar_path(folder), {})  # a repository has none
    own, preprocess = preprocess, sidecar.applied(preprocess)
    card = card_of_folder("hf", folder, own, method) if local else card_of("hf", source, method, preprocess=own)
    card = told(sidecar, own, card, known=[key for key in IMAGES if SAID_AS.get(key, "size") in said])
    encoder: Any = KINDS[family.text](backbone.float(), read_as(family, sidecar), preprocess, card)
    if family.text:
        encoder.take_text_tower(model.float(), location, at.get("revision"))
    check_shown(sidecar, encoder, own)
    return encoder


def read_as(family: ModelFamily, sidecar: WeightsSidecar) -> ModelFamily:
    """The family, read as the sidecar says: a ViT with a CLS token also at the mean of its patches. UserError else."""
    if sidecar.pooling == family.pooling:
        return family
    if (family.pooling, sidecar.pooling) == ("cls", "mean"):
        return replace(family, pooling="mean")
    sidecar.of_one_pooling()
    return family


def family_of(source: str, model_type: str) -> ModelFamily:
    """The family of a model type. Raises UserError with the known ones."""
    if model_type not in FAMILIES:
        raise UserError(
            f"hf:{source} is a {model_type!r}; supported are {', '.join(FAMILIES)}; wrap it in FILE.py:CLASS"
        )
    return FAMILIES[model_type]


def why_not_loaded(source: str, folder: Path, error: Exception) -> str:
    """One line for what transformers could not load."""
    reason = f"{type(error).__name__}: {first_line(error)}"
    if "weights_only" in str(error) or "Unpickling" in reason:
        return f"hf:{source} holds a pickle that wants to run code, or a damaged one; it was not run; use safetensors"
    if folder.is_dir():
        needs = "config.json, weights that fit it, and preprocessor_config.json"
        return f"hf:{source} cannot be loaded ({reason}): it needs {needs}"
    return (
        f"cannot fetch hf:{source} ({reason}); without network, fetch it elsewhere with "
        f"`hf download {source} --local-dir FOLDER` and pass hf:FOLDER"
    )


def check_report(source: str, family: ModelFamily, report: Any) -> None:
    """Raise UserError unless every weight fitted, but for those that an image encoder does not use."""
    missing = [name for name in sorted(report["missing_keys"]) if not name.endswith(UNUSED)]
    unexpected = [name for name in sorted(report["unexpected_keys"]) if not name.startswith(NOT_THE_ENCODER)]
    problems = [
        f"{len(names)} {what}: {listed(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise UserError(f"weights of hf:{source} do not fit {family.model}: {'; '.join(problems)}")


def folder(request: EncoderRequest) -> tuple[Path, ...] | None:
    """The folder that a spec names; None for a repository, which may be another tomorrow."""
    path = Path(request.variant or "").expanduser()
    return (path,) if request.variant and path.is_dir() else None


PLUGIN = EncoderPlugin(
    load=load,
    summary=f"image models of transformers ({', '.join(FAMILIES)}), CLIP and SigLIP with their text tower; a "
    "repository's own code is never run",
    usage="hf:REPO-OR-FOLDER",
    reads=folder,
)
