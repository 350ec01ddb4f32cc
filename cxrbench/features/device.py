"""Where and in which precision an encoder runs. Where there can be no accelerator, torch need not be asked."""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrbench.errors import UserError, first_line

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
ACCELERATORS = ("nvidia*", "nvmap", "nvhost*", "kfd", "dxg")
"""Files in /dev without which there is no CUDA: NVIDIA's, those of its Jetson boards, ROCm's, and Windows' (WSL)."""
CPU_BF16 = frozenset({"avx512_bf16", "amx_tile"})
"""Flags of /proc/cpuinfo by which torch, too, knows a CPU that multiplies bf16."""


def chosen_device(name: str) -> str:
    """``auto`` is the first GPU if there is one, else ``cpu``; anything else is torch's name of a device.

    Raises UserError for a device that cannot be used here.
    """
    if name == "cpu" or (name == "auto" and not may_have_accelerator()):
        return "cpu"
    return str(resolve_device(name))


def resolve_device(name: str) -> "torch.device":
    """The device of ``chosen_device`` as torch has it."""
    import torch

    if name == "auto":
        return torch.device("cuda" if may_have_accelerator() and torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} is not usable here ({first_line(error)}): try --device auto") from error
    return device


def may_have_accelerator(
    devices: Path = Path("/dev"), environ: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> bool:
    """Whether torch has to be asked for a GPU: not where all are hidden, nor on Linux without a driver's file."""
    if environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return platform != "linux" or any(next(devices.glob(name), None) for name in ACCELERATORS)


def resolve_precision(name: str, device: "str | torch.device") -> Precision:
    """``auto`` is bf16 where the hardware multiplies it natively (AVX-512 BF16 or AMX; Ampere or newer), else fp32."""
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if name not in ("fp32", "bf16"):
        raise UserError(f"unknown precision {name!r}: give auto, fp32 or bf16")
    return name


def has_bf16(device: "str | torch.device", cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the device has bf16 arithmetic in hardware; an emulation would only be slower."""
    kind = str(device).partition(":")[0]
    if kind == "cuda":
        import torch

        return torch.cuda.get_device_capability(device)[0] >= 8
    if kind == "cpu" and cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        flags = next((value for key, _, value in lines if key.strip() == "flags"), "")
        return not CPU_BF16.isdisjoint(flags.split())
    if kind == "cpu":
        import torch

        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def device_name(device: "torch.device") -> str:
    """``cpu``, or the accelerator's own name."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def autocast(device: "torch.device", precision: Precision) -> AbstractContextManager[object]:
    """The autocast context of a precision; none for fp32."""
    import torch

    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
