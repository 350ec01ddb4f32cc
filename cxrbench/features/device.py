"""Where and in which precision an encoder runs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from cxrbench.errors import UserError

Precision = Literal["fp32", "bf16"]


def resolve_device(name: str) -> torch.device:
    """``auto`` is the first GPU if there is one, else the CPU; anything else is torch's name of a device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} is not usable here ({reason}): try --device auto") from error
    return device


def resolve_precision(name: str, device: torch.device) -> Precision:
    """``auto`` is bf16 where the hardware multiplies it natively (AVX-512 BF16 or AMX; Ampere or newer), else fp32."""
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    if name not in ("fp32", "bf16"):
        raise UserError(f"unknown precision {name!r}: give auto, fp32 or bf16")
    return name


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 arithmetic in hardware; an emulation would only be slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The autocast context of a precision; none for fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
