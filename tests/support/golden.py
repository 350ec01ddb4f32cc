"""What golden tests share: weights, inputs and draws made from a formula, and the few numbers a network is known by.

A test fills our network by the names of its parameters and compares with what the public code gave for the very same
tensors. The formula is exact integer arithmetic, so that both sides have the same bits on every machine.
"""

import math
from collections.abc import Mapping
from zlib import crc32

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cxrbench.encoders.pretraining.method import Draw

PRIME = 2**31 - 1
RELATIVE = 1e-5  # float32, sums in another order


def formula(name: str, *shape: int) -> Tensor:
    """Float32 numbers in [0, 1) that look random: ((a i + b) i + c) mod PRIME / PRIME, with a, b, c from ``name``."""
    i = np.arange(math.prod(shape), dtype=np.int64)
    a, b, c = (crc32(f"{name} {letter}".encode()) % PRIME for letter in "abc")
    numbers = (((a * i + b) % PRIME) * i + c) % PRIME
    return torch.from_numpy((numbers / PRIME).astype(np.float32)).reshape(shape)


def inputs(name: str, *shape: int) -> Tensor:
    """Of ``formula``, with mean 0 and deviation 1."""
    return (2 * formula(name, *shape) - 1) * math.sqrt(3)


def weights(name: str, *shape: int) -> Tensor:
    """A parameter: matrices keep the variance of what they are applied to, norms scale by .8 to 1.2, biases are small.

    A name that ends in ``weight`` with one dimension is a norm's; any other one-dimensional one is a bias. Tokens and
    positions (no ``weight``, more dimensions) lie in [-.5, .5].
    """
    if name.endswith("weight") and len(shape) > 1:
        return inputs(name, *shape) / math.sqrt(math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1 + 0.4 * (formula(name, *shape) - 0.5)
    return (formula(name, *shape) - 0.5) * (0.2 if len(shape) == 1 else 1)


def fill(module: nn.Module) -> None:
    """Give every parameter that is no scalar what ``weights`` makes of its name."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim:
                parameter.copy_(weights(name, *parameter.shape))


class FormulaDraw(Draw):
    """A draw whose k-th call gives ``formula("draw k")``."""

    def __init__(self, progress: float = 0.0) -> None:
        super().__init__(torch.Generator(), progress=progress)
        object.__setattr__(self, "calls", iter(range(1000)))

    def rand(self, batch: int, *shape: int) -> Tensor:
        return formula(f"draw {next(self.calls)}", batch, *shape)  # type: ignore[attr-defined]


def gradient_norm(*modules: nn.Module) -> float:
    """Of all parameters together: after ``backward``."""
    squares = [p.grad.double().square().sum() for m in modules for p in m.parameters() if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt())


def digest(tensor: Tensor) -> tuple[float, float, float]:
    """What is told of many numbers: their length, a sum in which each has a weight of its own, and the first."""
    flat = tensor.detach().double().flatten()
    return float(flat.norm()), float(flat @ inputs("digest", len(flat)).double()), float(flat[0])


def agree(seen: Mapping[str, object], golden: Mapping[str, object], relative: float = RELATIVE) -> None:
    """Numbers and tuples of them are the golden ones, by name; those of a tuple on the scale of its largest."""
    assert set(seen) == set(golden)
    for name, expected in golden.items():
        scale = max(abs(number) for number in expected) if isinstance(expected, tuple) else 0.0
        assert seen[name] == pytest.approx(expected, rel=relative, abs=relative * scale), name
