"""Write what the probes see of an encoder to a file that ``embeddings:FILE`` reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cxrbench.data.manifest import Manifest
from cxrbench.encoder import sidecar_path
from cxrbench.engine.budgets.task import innermost
from cxrbench.engine.cached_encoder import CachedEncoder
from cxrbench.engine.job import Job
from cxrbench.engine.plan import EncoderRef
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.features.maps.dense import dense_preprocess
from cxrbench.features.stored.files import write_embeddings
from cxrbench.features.stored.table import LEVELS, EmbeddingTable
from cxrbench.files.atomic import atomic_path
from cxrbench.files.toml import toml_value
from cxrbench.progress import Progress
from cxrbench.task import AsksTexts, RunContext

if TYPE_CHECKING:
    from cxrbench.features.extract import ExtractOptions

MAP_BATCH = 256
TEXT_BATCH = 64  # as protocols ask: in another batch the last bits may be others


@dataclass(frozen=True)
class Exported:
    """What was written: images, numbers per image, texts, unreadable images by dataset, and the ``card`` beside it.

    ``note``: why texts that a task asks for are not in it, and what was assumed of the encoder; or empty.
    """

    path: Path
    card: Path
    images: int
    width: int
    texts: int
    left_out: dict[str, int]
    note: str = ""


def export_features(job: Job, options: "ExtractOptions", out: Path, progress: Progress, *, maps: bool) -> Exported:
    """Write embeddings of every image of the job's datasets by its one encoder, and ``FILE.toml`` beside them.

    What is not in the cache is extracted. Of an encoder with a text tower the texts go along that the job's tasks ask
    for. ``maps``: the feature maps, too. Raises UserError if nothing can be planned,
    for a second encoder, and whatever an extraction raises.
    """
    pairs = _planned(job)
    ref = pairs[0][0]
    tables, left_out, context = [], {}, RunContext(options, job.cache, progress)
    for _, manifest in pairs:
        encoder = CachedEncoder(ref, manifest, context, job.request.skip_bad, job.request.cache_limit)
        table = _table(encoder, manifest, maps=maps)
        tables.append(table)
        left_out[manifest.name] = len(manifest) - len(table.images)
    texts, vectors, note = _texts(job, ref, options)
    whole = EmbeddingTable(
        images=tuple(image for table in tables for image in table.images),
        pooled=np.concatenate([table.pooled for table in tables]),
        datasets=tuple(dataset for table in tables for dataset in table.datasets),
        maps=tuple(np.concatenate(level) for level in zip(*(table.maps for table in tables), strict=True)),
        texts=texts,
        text_vectors=vectors,
    )
    write_embeddings(out, whole)
    card = _write_card(out, ref)
    note = "; ".join(filter(None, (note, *ref.spec.card.assumed)))
    return Exported(out, card, len(whole.images), whole.pooled.shape[1], len(texts), left_out, note)


def _planned(job: Job) -> list[tuple[EncoderRef, Manifest]]:
    """The encoder with each dataset once. Raises UserError, with the reason, where one of them is blocked."""
    found: dict[str, tuple[EncoderRef, Manifest]] = {}
    for planned in job.plan.cells:
        if planned.encoder is None or planned.manifest is None:
            raise UserError(planned.reason)
        found.setdefault(planned.manifest.name, (planned.encoder, planned.manifest))
    if len({ref.spec.name for ref, _ in found.values()}) > 1 or len(job.request.encoders) > 1:
        raise UserError("a file holds the features of one encoder: export the others to files of their own")
    return list(found.values())


def _table(encoder: CachedEncoder, manifest: Manifest, *, maps: bool) -> EmbeddingTable:
    """One dataset's rows; images that cannot be read have none."""
    readable = manifest.without(encoder.bad_images())
    return EmbeddingTable(
        images=tuple(readable.images["image_id"].astype(str)),
        pooled=encoder.pooled(readable),
        datasets=(manifest.name,) * len(readable),
        maps=_maps(encoder, readable) if maps else (),
    )


def _texts(job: Job, ref: EncoderRef, options: "ExtractOptions") -> tuple[tuple[str, ...], Any, str]:
    """The texts that the tasks ask for, their vectors [m, D] (None without any), and why there are none, if not."""
    cells = [
        planned for planned in job.plan.cells if isinstance(innermost(planned.task), AsksTexts) and planned.manifest
    ]
    module: Any = ref.load() if cells else None
    if module is None or not callable(getattr(module, "encode_text", None)):
        return (), None, ""
    if callable(getattr(module, "project", None)):
        return (), None, f"{ref.spec.name} takes images to its texts by project(pooled), so its texts stay out"
    module.to(options.device)
    known: dict[str, np.ndarray] = {}
    for planned in cells:
        asked = innermost(planned.task).texts(planned.manifest)
        for start in range(0, len(asked), TEXT_BATCH):
            batch = asked[start : start + TEXT_BATCH]
            with torch.inference_mode():
                vectors = module.encode_text(batch).float().cpu().numpy()
            for text, vector in zip(batch, vectors, strict=True):
                known.setdefault(text, vector)
    return tuple(known), np.stack([*known.values()]) if known else None, ""


def _maps(encoder: CachedEncoder, manifest: Manifest) -> tuple[np.ndarray, ...]:
    """Four [n, C, side, side], as decoders see them."""
    try:
        dense = encoder.maps(manifest)
    except NotApplicableError as why:
        raise UserError(f"{why}: leave out --maps") from why
    parts = np.split(np.arange(len(manifest)), range(MAP_BATCH, len(manifest), MAP_BATCH))
    batches = [dense.batch(rows) for rows in parts]
    return tuple(np.concatenate([batch[level].numpy() for batch in batches]) for level in range(LEVELS))


def _write_card(out: Path, ref: EncoderRef) -> Path:
    """``FILE.toml``: whose features these are, so that contamination and licence go with them."""
    path, card = sidecar_path(out), ref.spec.card
    whole = dense_preprocess(ref.preprocess)
    seen = card.pretrained_on
    said = (
        f"pretrained_on = {toml_value(seen)}"
        if seen
        else '# nobody says what it has seen: pretrained_on = ["mimic"], or []'
    )
    more = {"citation": card.citation, "year": card.year, "synthetic": card.synthetic, "assumed": card.assumed}
    lines = [
        f"# Features of {ref.spec.name}, written by cxrbench features export; fingerprint {ref.spec.fingerprint}.",
        f"method = {toml_value(card.method)}", f"licence = {toml_value(card.licence)}", said,
        *(f"{key} = {toml_value(value)}" for key, value in more.items() if value),
        f"size = {whole.size}", f'resize = "{whole.resize}"  # of whole images, as maps are',
    ]  # fmt: skip
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
