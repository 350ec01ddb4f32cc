"""An encoder's own text tower, where it has one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrbench.errors import UserError
from cxrbench.task import FrozenEncoder
from cxrbench.tasks.retrieval.studies import unit

BATCH, ROWS = 64, 4096

TextTower = Callable[[Sequence[str]], NDArray[np.float32]]


def text_tower(encoder: FrozenEncoder) -> TextTower | None:
    """A function from n texts to their embeddings [n, D], at length one, for ``beside_texts``; None without one.

    The function raises UserError if ``encode_text`` gives anything but one finite vector per text.
    """
    module: Any = encoder.module
    if not callable(getattr(module, "encode_text", None)):
        return None
    module.to(encoder.context.options.device)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            batches = [
                module.encode_text(list(texts[start : start + BATCH])).float().cpu().numpy()
                for start in range(0, len(texts), BATCH)
            ]
        rows = np.concatenate(batches)
        if rows.ndim != 2 or len(rows) != len(texts) or not np.isfinite(rows).all():
            raise UserError(
                f"encoder {encoder.spec.name}: encode_text gives {list(rows.shape)} for {len(texts)} texts, or NaN; it "
                "must give one vector per text"
            )
        return unit(rows)

    return embed


def beside_texts(encoder: FrozenEncoder, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Image embeddings [n, D] of ``pooled`` where ``encode_text`` puts texts: its ``project``, if it has one, of them.

    An encoder whose ``pooled`` lies in that space already has no ``project``. Raises UserError if it gives anything but
    one finite vector per image.
    """
    import torch

    module: Any = encoder.module
    if not callable(getattr(module, "project", None)):
        return pooled
    device = encoder.context.options.device
    module.to(device)
    with torch.inference_mode():
        batches = [
            module.project(torch.tensor(pooled[start : start + ROWS], device=device)).float().cpu().numpy()
            for start in range(0, len(pooled), ROWS)
        ]
    rows = np.concatenate(batches) if batches else pooled
    if rows.ndim != 2 or len(rows) != len(pooled) or not np.isfinite(rows).all():
        raise UserError(
            f"encoder {encoder.spec.name}: project gives {list(rows.shape)} for {len(pooled)} images, or NaN; it must "
            "give one vector per image"
        )
    return rows


def same_space(encoder: FrozenEncoder, images: NDArray[np.floating], texts: NDArray[np.floating]) -> None:
    """Raise UserError if image and text embeddings have different widths, so that no cosine can be taken."""
    if images.shape[1] != texts.shape[1]:
        raise UserError(
            f"encoder {encoder.spec.name}: pooled is {images.shape[1]} wide but encode_text {texts.shape[1]}; give the "
            "projected image embedding as pooled, or from a method project(pooled)"
        )
