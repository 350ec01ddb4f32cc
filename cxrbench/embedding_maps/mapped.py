"""One map per encoder of the same images, with their groups and the numbers beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrbench.embedding_maps.embedded import Embedded
from cxrbench.embedding_maps.grouping import Grouping, grouping
from cxrbench.embedding_maps.projection import Projection, project, unit
from cxrbench.embedding_maps.quality import Separation, separation, trustworthiness
from cxrbench.errors import UserError
from cxrbench.progress import Advance


@dataclass(frozen=True)
class EncoderMap:
    """An encoder's ``points`` [n, 2] of the images, of embeddings of ``width`` numbers.

    ``trustworthiness``: of the map; ``shown``: share of the variance that a PCA shows, else NaN; ``seen``: datasets of
    the map whose images the encoder was pretrained on; ``assumed``: what had to be taken for granted of it.
    """

    encoder: str
    points: NDArray[np.float64]
    width: int
    trustworthiness: float
    shown: float
    seen: tuple[str, ...]
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class EmbeddingMap:
    """Several encoders' maps of the same images.

    ``image_ids`` and ``datasets`` [n]: of each image; ``splits`` [n]; ``patients``: how many; ``of``: by dataset, how
    many images there were to draw from; ``left_out``: unreadable ones, by dataset; ``synthetic``: the phantoms.
    """

    how: Projection
    split: str
    image_ids: tuple[str, ...]
    datasets: tuple[str, ...]
    splits: tuple[str, ...]
    patients: int
    of: Mapping[str, int]
    left_out: Mapping[str, int]
    synthetic: tuple[str, ...]
    groupings: tuple[Grouping, ...]
    maps: tuple[EncoderMap, ...]
    separations: tuple[Separation, ...]


def embedding_map(embedded: Embedded, by: Sequence[str], how: Projection, advance: Advance) -> EmbeddingMap:
    """Project each encoder's embeddings, and say how far the groups of each ``by`` lie apart.

    ``advance``: is told how many encoders are done. Raises UserError for what cannot be grouped or projected.
    """
    from threadpoolctl import threadpool_limits

    manifests = embedded.manifests
    how.check(sum(map(len, manifests)))  # again: some may have been unreadable
    groupings = tuple(grouping(manifests, one) for one in dict.fromkeys(by))
    maps, separations = [], []
    for done, (encoder, embeddings) in enumerate(embedded.embeddings.items()):
        advance(done, len(embedded.embeddings))
        rows = unit(embeddings)
        points, shown = _named(encoder, lambda rows=rows: project(rows, how))
        with threadpool_limits(1):
            true = trustworthiness(rows, points)
            separations += [separation(encoder, one, rows, points) for one in groupings]
        maps.append(
            EncoderMap(
                encoder,
                points,
                rows.shape[1],
                true,
                shown,
                embedded.seen(encoder),
                embedded.refs[encoder].spec.card.assumed,
            )
        )
    patients = {(m.name, patient) for m in manifests for patient in m.images["patient_id"]}
    return EmbeddingMap(
        how=how,
        split=embedded.drawn.split,
        image_ids=tuple(str(image) for m in manifests for image in m.images["image_id"]),
        datasets=tuple(m.name for m in manifests for _ in range(len(m))),
        splits=tuple(str(one) for m in manifests for one in m.images["split"]),
        patients=len(patients),
        of=embedded.of,
        left_out=embedded.left_out,
        synthetic=tuple(m.name for m in manifests if m.synthetic),
        groupings=groupings,
        maps=tuple(maps),
        separations=tuple(separations),
    )


def _named(encoder: str, call: Callable[[], tuple[NDArray[np.float64], float]]) -> tuple[NDArray[np.float64], float]:
    try:
        return call()
    except UserError as error:
        raise UserError(f"{encoder}: {error}") from error
