"""A published model's own configuration, as our Preprocess; and what the families share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from torch import Tensor

from cxrbench.encoder import Preprocess
from cxrbench.errors import UserError

Resize = Literal["squash", "crop", "pad"]
TIMM_RESIZE: dict[str, Resize] = {"center": "crop", "squash": "squash", "border": "pad"}
OPEN_CLIP_RESIZE: dict[str, Resize] = {"shortest": "crop", "squash": "squash", "longest": "pad"}
PIL_INTERPOLATION = {2: "bilinear", 3: "bicubic"}


def timm_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """From ``timm.data.resolve_data_config``: input_size, crop_mode, crop_pct, interpolation, mean, std."""
    channels, height, width = config["input_size"]
    return checked(
        size=(height, width),
        resize=TIMM_RESIZE.get(config.get("crop_mode") or "center"),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        channels=channels,
        crop_pct=config.get("crop_pct") or 1.0,
    )


def open_clip_preprocess(config: Mapping[str, Any]) -> Preprocess:
    """From ``open_clip``'s ``visual.preprocess_cfg``: size, resize_mode, interpolation, mean, std."""
    size = config["size"]
    return checked(
        size=(size, size) if isinstance(size, int) else tuple(size),
        resize=OPEN_CLIP_RESIZE.get(config["resize_mode"]),
        interpolation=config["interpolation"],
        mean=config["mean"],
        std=config["std"],
        channels=3,
    )


def hf_preprocess(config: Mapping[str, Any], channels: int = 3) -> Preprocess:
    """From transformers' image processor as a dictionary: size, crop_size, do_center_crop, resample, image_mean, ...

    ``size`` with ``height`` and ``width`` ignores the aspect ratio; with ``shortest_edge`` it keeps it, and a centre
    crop of ``crop_size`` follows. (Where that leaves an odd margin, the crops may differ by one pixel.)
    """
    size = {"shortest_edge": config["size"]} if isinstance(config["size"], int) else dict(config["size"])
    size = {name: value for name, value in size.items() if value is not None}
    crop = config.get("crop_size")
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else dict(crop or {})
    cropping = bool(config.get("do_center_crop")) and bool(crop)
    if not config.get("do_resize", True) or not config.get("do_rescale", True):
        raise UserError("its image processor does not resize or rescale: not supported")
    if not math.isclose(config.get("rescale_factor") or 1 / 255, 1 / 255, rel_tol=1e-6):
        raise UserError(
            f"its image processor multiplies pixels by {config['rescale_factor']}, not 1/255: not supported"
        )
    resize, crop_pct = "squash", 1.0
    if "shortest_edge" in size:
        resize, crop_pct = "crop", crop["height"] / size["shortest_edge"] if cropping else None
    elif cropping and (crop["height"], crop["width"]) != (size.get("height"), size.get("width")):
        resize = None
    final = crop if cropping else size
    normalise = config.get("do_normalize", True)
    return checked(
        size=(final.get("height"), final.get("width")),
        resize=cast(Resize | None, resize if crop_pct else None),
        interpolation=PIL_INTERPOLATION.get(int(config.get("resample") or 0)),
        mean=config["image_mean"] if normalise else (0.0,),
        std=config["image_std"] if normalise else (1.0,),
        channels=channels,
        crop_pct=crop_pct or 1.0,
    )


def checked(
    *,
    size: tuple[Any, ...],
    resize: Resize | None,
    interpolation: str | None,
    mean: Sequence[float],
    std: Sequence[float],
    channels: int,
    crop_pct: float = 1.0,
) -> Preprocess:
    """A Preprocess, or a UserError if the model wants something that ours cannot express exactly."""
    height, width = size
    if height is None or height != width:
        raise UserError(f"its input is {height} x {width}: only square input is supported")
    if resize is None or interpolation not in ("bilinear", "bicubic") or channels not in (1, 3):
        raise UserError(f"its preprocessing (resize, {interpolation}, {channels} channels) is not supported")
    if resize != "crop" and crop_pct != 1.0:
        raise UserError(f"its preprocessing ({resize} and then a crop of {crop_pct}) is not supported")
    return Preprocess(
        size=int(height),
        resize=resize,
        mean=tuple(float(m) for m in mean),
        std=tuple(float(s) for s in std),
        channels=3 if channels == 3 else 1,
        interpolation="bicubic" if interpolation == "bicubic" else "bilinear",
        crop_pct=float(crop_pct),
    )


def four_blocks(depth: int) -> list[int]:
    """Four evenly spaced blocks of a plain ViT, 0-based: of 12 blocks 2, 5, 8 and 11."""
    return [math.ceil(depth * k / 4) - 1 for k in (1, 2, 3, 4)]


def to_grid(tokens: Tensor, height: int, width: int) -> Tensor:
    """The last height · width tokens of [B, n, D] (CLS and registers come first) as a map [B, D, height, width]."""
    patches = tokens[:, tokens.shape[1] - height * width :]
    return patches.transpose(1, 2).reshape(len(tokens), -1, height, width)
