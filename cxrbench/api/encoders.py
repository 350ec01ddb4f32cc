"""One encoder: itself, and who it is."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxrbench.encoder import Encoder


def load_encoder(spec: str, *, synthetic: bool = False) -> "Encoder":
    """The encoder that a spec names: a torch module in eval mode, weights frozen, with its ``preprocess``.

    ``synthetic``: a bare name may mean weights that are for phantom images only. Raises UserError.
    """
    from cxrbench.engine.registry import load_encoder

    return load_encoder(spec, synthetic=synthetic).module


def describe(spec: str) -> dict[str, Any]:
    """Who an encoder is: its card, parameters, GFLOPs per image, feature width, preprocessing, hashes; by name.

    Builds it and runs it on a blank image. Raises UserError.
    """
    from cxrbench.engine.registry import load_encoder
    from cxrbench.features.efficiency import measure

    loaded = load_encoder(spec, synthetic=True)
    counts = measure(loaded.module, loaded.module.preprocess)
    return {
        "encoder": spec,
        **asdict(loaded.spec.card),
        "parameters": loaded.spec.parameters,
        "GFLOPs per image": round(counts.gflops_per_image, 3),
        "feature width": counts.width,
        "preprocessing": loaded.spec.preprocess,
        "weights sha256": loaded.spec.weights_sha256,
        "fingerprint": loaded.spec.fingerprint,
    }
