"""Images in, an encoder's embeddings out: what a run computes first, for whoever wants no more than that, or a file."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cxrbench.api.given import is_a
from cxrbench.errors import UserError
from cxrbench.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from cxrbench.engine.export import Exported
    from cxrbench.engine.settings import Settings

    Image = str | Path | NDArray[np.generic]
    """A file (DICOM, PNG, JPEG, ``FILE.npy#17``), or a gray image [H, W]: uint8, uint16, or floats in [0, 1]."""


def embed(
    encoder: "str | nn.Module",
    images: "Image | Sequence[Image]",
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
) -> "NDArray[np.float32]":
    """Embeddings [images, D] of an encoder, float32, in the order of the images.

    ``encoder``: a spec, or a module as of ``cxrbench.run``. ``images``: files or gray arrays [H, W], one or several, or
    an array [images, H, W]; each is prepared as the encoder wants it. Bare names that mean weights for phantom images
    are for those only. Raises UserError, and BadImageError for a file that cannot be read::

        embeddings = cxrbench.embed("imagenet", ["scans/0001.dcm", "scans/0002.png"])
    """
    import torch

    from cxrbench.data.decode.preprocess import load_image, prepare
    from cxrbench.encoder import StoredEncoder
    from cxrbench.engine.registry import any_phantom, load_encoder
    from cxrbench.engine.settings import checked_settings
    from cxrbench.features.device import resolve_device, resolve_precision
    from cxrbench.features.extract import ExtractOptions
    from cxrbench.features.extract import embed as embedded
    from cxrbench.plugins.given import load_given
    from cxrbench.plugins.loading import probe

    several = _listed(images)
    checked_settings({"device": device, "precision": precision, "batch_size": batch_size})
    chosen = resolve_device(device)
    options = ExtractOptions(chosen, resolve_precision(precision, chosen), batch_size)
    if isinstance(encoder, str):
        loaded = load_encoder(encoder, synthetic=any_phantom(one for one in several if isinstance(one, Path)))
    elif is_a(encoder, "nn.Module"):
        loaded = load_given(type(encoder).__name__, encoder)
    else:
        raise UserError(f"encoder {type(encoder).__name__}: give a name or an nn.Module")
    if isinstance(loaded.module, StoredEncoder):
        raise UserError(
            f"encoder {loaded.spec.name!r} is a file of embeddings, and cannot be shown images: read the file"
        )
    for assumed in loaded.spec.card.assumed:
        warnings.warn(f"{loaded.spec.name}: {assumed}", stacklevel=2)
    probe(loaded)  # a module that does not keep the contract is told so, whatever the images are
    module: Any = loaded.module
    module.to(chosen)
    wanted = module.preprocess
    parts = []
    for start in range(0, len(several), batch_size):
        batch = several[start : start + batch_size]
        prepared = [load_image(one, wanted) if isinstance(one, Path) else prepare(one, wanted) for one in batch]
        parts.append(embedded(module, torch.stack(prepared), options))
    import numpy as np

    return np.concatenate(parts)


def export_features(
    encoder: str,
    tasks: str | Sequence[str],
    out: Path | str,
    *,
    maps: bool = False,
    progress: Progress | None = None,
    **settings: Unpack["Settings"],
) -> "Exported":
    """Write what the probes see of an encoder, one vector per image, to a .parquet, .npz or .h5 file.

    ``embeddings:FILE`` then gives the same results to the bit, and ``FILE.toml`` beside it says whose they are.
    ``tasks``: whose datasets (``DATASET[:PROTOCOL]``). ``maps``: the feature maps, too. Raises UserError.

    Example::

        cxrbench.api.export_features("imagenet", "siim", "siim.parquet")
        cxrbench.run("embeddings:siim.parquet", "siim:classification")
    """
    from cxrbench.api.runs import prepare
    from cxrbench.engine.export import export_features

    progress = progress or Progress()
    job = prepare(encoder, tasks, progress=progress, **settings)
    return export_features(job, job.extraction(), Path(out), progress, maps=maps)


def _listed(images: Any) -> "list[Path | NDArray[np.float32]]":
    """Files as paths, arrays as floats in [0, 1]. Raises UserError for what is neither, and for none at all."""
    import numpy as np

    if isinstance(images, (str, Path)) or (isinstance(images, np.ndarray) and images.ndim == 2):
        images = [images]
    if not isinstance(images, (Sequence, np.ndarray)) or not len(images):
        raise UserError("give images: files or gray arrays [H, W], at least one")
    return [Path(one).expanduser() if isinstance(one, (str, Path)) else _gray(one, at) for at, one in enumerate(images)]


def _gray(image: Any, at: int) -> "NDArray[np.float32]":
    import numpy as np

    if not isinstance(image, np.ndarray) or image.ndim != 2 or not image.size:
        what = f"an array {list(image.shape)}" if isinstance(image, np.ndarray) else f"a {type(image).__name__}"
        raise UserError(f"image {at} is {what}: give a file, or a gray array [H, W]")
    if image.dtype in (np.uint8, np.uint16):
        return (image / np.iinfo(image.dtype).max).astype(np.float32)
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"image {at} is of {image.dtype}: give uint8, uint16, or floats in [0, 1]")
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise UserError(f"image {at} has values outside [0, 1]: scale it, black 0 and white 1")
    return image.astype(np.float32)
