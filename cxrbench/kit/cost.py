"""What an encoder costs on this machine."""

import resource
from typing import Any

import torch

from cxrbench.errors import THEIRS
from cxrbench.features.efficiency import measure
from cxrbench.kit.calls import Caller


def cost(caller: Caller, grown: int) -> dict[str, Any]:
    """Parameters, memory (``grown``: bytes of ``peak_memory``) and speed; GFLOPs where they can be counted."""
    tensors = [*caller.module.parameters(), *caller.module.buffers()]
    facts: dict[str, Any] = {
        "device": caller.device,
        "parameters": caller.loaded.spec.parameters,
        "weights, MB": round(sum(t.numel() * t.element_size() for t in tensors) / 1e6, 1),
        "peak memory grew by, MB": round(grown / 1e6),
    }
    if caller.seconds:
        facts["images per second"] = round(1 / min(caller.seconds), 1)
        facts["threads"] = torch.get_num_threads()
    try:
        facts["GFLOPs per image"] = round(measure(caller.module.to("cpu"), caller.preprocess).gflops_per_image, 2)
    except THEIRS:  # of torch's counter, or of an encoder that has failed before
        facts["GFLOPs per image"] = None
    return facts


def peak_memory() -> int:
    """The most that this process has taken so far, in bytes; Linux counts kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
