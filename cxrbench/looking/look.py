"""Asking an encoder where it looks, in the best way that it can answer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrbench.encoder import AttentiveEncoder, Preprocess
from cxrbench.errors import NotApplicableError
from cxrbench.features.extract import codes_of
from cxrbench.looking.evidence import grad_cam, occlusion
from cxrbench.looking.how import How
from cxrbench.looking.rollout import rollout


class SeenMap(NamedTuple):
    """``values``: [rows, columns] over the square that the encoder sees. ``how``: a key of ``WORDS``."""

    values: NDArray[np.float64]
    how: str


@dataclass(frozen=True)
class Looker:
    """An encoder in eval mode, and how it is asked.

    ``weights``: of an embedding [D] for each label, by which its logit is made; they are not needed for rollout.
    """

    module: Any
    how: How
    weights: Callable[[str], NDArray[np.float64]]
    device: torch.device

    @property
    def preprocess(self) -> Preprocess:
        """How it wants its images."""
        return self.module.preprocess

    def map(self, image: Tensor, label: str, view: str = "") -> SeenMap:
        """Of a prepared image [channels, size, size], which was taken from ``view``.

        ``grad-cam`` becomes occlusion where ``auto`` has chosen it and there is no gradient. Raises NotApplicableError.
        """
        codes, image = codes_of(self.module, [view]), image.to(self.device)
        if self.how == "rollout" or (self.how == "auto" and rollout_problem(self.module) is None):
            with torch.inference_mode():
                seen = self.module.attentions(image[None], *(() if codes is None else (codes.to(self.device),)))
                return SeenMap(rollout(seen)[0].cpu().numpy(), "rollout")
        encoder = self.module if codes is None else partial(_of_view, self.module, codes.to(self.device))
        weights = torch.from_numpy(self.weights(label)).to(self.device)
        if self.how != "occlusion":
            if (seen := grad_cam(encoder, image, weights)) is not None:
                return SeenMap(seen.cpu().numpy(), "grad-cam")
            if self.how == "grad-cam":
                raise NotApplicableError("it gives no maps through which a gradient of its embedding comes")
        return SeenMap(occlusion(encoder, image, weights).numpy(), "occlusion")


def rollout_problem(module: Any) -> str | None:
    """Why an encoder's attention cannot be rolled out, or None; shown a blank image."""
    if not isinstance(module, AttentiveEncoder):
        return "it says nothing of its attention (it has no `attentions`)"
    wanted = module.preprocess
    device = next(iter([*module.parameters(), *module.buffers()]), torch.empty(0)).device  # type: ignore[attr-defined]
    try:
        with torch.inference_mode():
            module.attentions(torch.zeros(1, wanted.channels, wanted.size, wanted.size, device=device))
    except NotApplicableError as why:
        return str(why)
    return None


def _of_view(module: Any, codes: Tensor, images: Tensor) -> Any:
    """The features of images that are all of one view."""
    return module(images, codes.expand(len(images)))
