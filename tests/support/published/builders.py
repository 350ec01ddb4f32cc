"""The builder of each layout's file."""

from collections.abc import Callable
from pathlib import Path

from cxrbench.encoders.families.published.entry import PublishedEncoder
from support.published.cnn_files import biovil_file, densenet_file, resnet_file
from support.published.files import Published
from support.published.vit_files import chexagent_file, dinov2_file, eva_file, jepa_file, swin_file, vit_file

BUILDERS: dict[str, Callable[[PublishedEncoder, Path], Published]] = {
    "vit": vit_file, "jepa": jepa_file, "swin": swin_file, "eva": eva_file, "dinov2": dinov2_file,
    "resnet": resnet_file, "densenet": densenet_file, "biovil": biovil_file, "chexagent": chexagent_file,
}  # fmt: skip
