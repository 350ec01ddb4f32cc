"""What the probes see of an encoder, as a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from cxrbench.progress import Progress

if TYPE_CHECKING:
    from cxrbench.engine.export import Exported
    from cxrbench.engine.settings import Settings


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
    ``tasks``: whose datasets (``DATASET[:PROTOCOL]``). ``maps``: the feature maps, too. Raises UserError::

        cxrbench.api.export_features("imagenet", "siim", "siim.parquet")
        cxrbench.run("embeddings:siim.parquet", "siim:classification")
    """
    from cxrbench.api.runs import prepare
    from cxrbench.engine.export import export_features

    progress = progress or Progress()
    job = prepare(encoder, tasks, progress=progress, **settings)
    return export_features(job, job.extraction(), Path(out), progress, maps=maps)
