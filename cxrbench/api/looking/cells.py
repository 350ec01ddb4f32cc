"""A finished cell opened again: its encoder, and the head that no file keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.api.store import find_cell, find_manifest
from cxrbench.errors import NotApplicableError, UserError
from cxrbench.files.folders import cache_folder
from cxrbench.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cxrbench.data.manifest import Manifest
    from cxrbench.engine.cached_encoder import CachedEncoder
    from cxrbench.looking.head import LinearHead
    from cxrbench.looking.how import How
    from cxrbench.looking.look import Looker
    from cxrbench.plugins.loading import LoadedEncoder
    from cxrbench.predictions import Predictions

SAME_SCORE = 0.02
"""How far a score of the head that is fitted again may be from the saved one: other machines, other last bits."""


@dataclass(frozen=True)
class OpenedCell:
    """A cell's predictions and data."""

    predictions: "Predictions"
    manifest: "Manifest"

    @property
    def encoder(self) -> str:
        """Its encoder's name."""
        return str(self.predictions.cell["encoder"])


def open_cells(cell: str, encoder: str, against: str, results: Path) -> list[OpenedCell]:
    """The cell that is meant, and the same one of another encoder, if one is named. Raises UserError."""
    from cxrbench.engine.results import Results
    from cxrbench.predictions import Predictions
    from cxrbench.task import Cell

    first = find_cell(cell, encoder=encoder, results=results)
    opened = [OpenedCell(first, find_manifest(first, cell=cell, results=results))]
    if against:
        above = Path(cell).resolve().parents if cell.endswith(".parquet") else ()
        facts = first.cell
        if against == facts["encoder"]:
            raise UserError(f"--against {against} is the encoder itself: name another one")
        same = Cell(against, facts["dataset"], facts["protocol"], facts["fraction"], facts["seed"])
        path = Results(above[4] if len(above) > 4 else results).path(same)
        if not path.is_file():
            raise UserError(
                f"no finished cell of {against} on {same.task} with fraction {same.fraction:g} and seed {same.seed}: "
                "run `cxrbench run` first"
            )
        second = Predictions.load(path)
        if second.cell["parts"].get("dataset") != facts["parts"].get("dataset"):
            raise UserError(f"{facts['encoder']} and {against} saw {same.dataset} in different states: run again")
        opened.append(OpenedCell(second, opened[0].manifest))
    return opened


def looker(opened: OpenedCell, how: "How", cache: Path | None, device: str, progress: Progress) -> "Looker":
    """A cell's encoder, ready to be asked. Raises UserError, and NotApplicableError where it cannot be asked so."""
    from functools import cache as remembered

    from cxrbench.features.device import resolve_device
    from cxrbench.looking.look import Looker, rollout_problem

    loaded = _encoder(opened)
    if how == "rollout" and (problem := rollout_problem(loaded.module)) is not None:
        raise NotApplicableError(problem)

    @remembered
    def head() -> "LinearHead":
        return fitted_again(opened, loaded, cache, device, progress)

    def weights(label: str) -> "NDArray[np.float64]":
        return head().weights[opened.manifest.labels.index(label)]

    if how != "rollout" and (how != "auto" or rollout_problem(loaded.module) is not None):
        head()  # what it lacks is said before anything is drawn
    module = loaded.module
    module.to(resolve_device(device))  # type: ignore[attr-defined]
    return Looker(module, how, weights, resolve_device(device))


def _encoder(opened: OpenedCell) -> "LoadedEncoder":
    """The encoder that made a cell. Raises UserError for another one, NotApplicableError for what has no network."""
    from cxrbench.encoder import StoredEncoder
    from cxrbench.engine.registry import load_encoder

    facts = opened.predictions.cell
    if "finetune" in str(facts["protocol"]).split("+"):
        raise NotApplicableError(f"{facts['protocol']} trained the encoder, and what it became was not kept")
    loaded = load_encoder(opened.encoder, synthetic=opened.manifest.synthetic)
    if isinstance(loaded.module, StoredEncoder):
        raise NotApplicableError("it is a file of embeddings, which cannot be asked where it looks")
    for part in ("encoder weights", "preprocessing"):
        if loaded.spec.parts[part] != facts["parts"].get(part):
            raise UserError(f"encoder {opened.encoder} is not the one of these results ({part}): run the cell again")
    return loaded


def fitted_again(
    opened: OpenedCell, loaded: "LoadedEncoder", cache: Path | None, device: str, progress: Progress
) -> "LinearHead":
    """The head of a cell, fitted on the same features, which the cache may still have.

    Raises NotApplicableError for a protocol without such a head, UserError where its scores are not those saved.
    """
    from cxrbench.engine.cached_encoder import CachedEncoder
    from cxrbench.engine.plan import CACHE_LIMIT, EncoderRef
    from cxrbench.engine.registry import load_task
    from cxrbench.engine.truth import without_test_truth
    from cxrbench.features.device import resolve_device
    from cxrbench.features.extract import ExtractOptions
    from cxrbench.looking.head import ReadsLinearly
    from cxrbench.plugins.entry_points import TASKS, found
    from cxrbench.plugins.loading import fixed_features
    from cxrbench.task import Cell, RunContext

    facts = opened.predictions.cell
    task = load_task(facts["protocol"]) if facts["protocol"] in found(TASKS) else None
    if not isinstance(task, ReadsLinearly):
        raise NotApplicableError(
            f"{facts['protocol']} keeps no head that is linear in the embedding, so no label can be followed back"
        )
    ref = EncoderRef(
        loaded.spec, loaded.module.preprocess, opened.manifest.synthetic, fixed_features(loaded), loaded.configuration
    )
    options = ExtractOptions(resolve_device(device), facts["parts"]["precision"])
    context = RunContext(options, cache_folder(cache), progress)
    encoder = CachedEncoder(ref, opened.manifest, context, True, CACHE_LIMIT)
    manifest = opened.manifest.without(encoder.bad_images())
    cell = Cell(opened.encoder, facts["dataset"], facts["protocol"], facts["fraction"], facts["seed"], facts["parts"])
    head = task.head(encoder, without_test_truth(manifest), cell)
    _check_scores(opened, head, encoder)
    return head


def _check_scores(opened: OpenedCell, head: "LinearHead", encoder: "CachedEncoder") -> None:
    """Raise UserError if a head does not predict what was saved."""
    import numpy as np
    from scipy.special import expit, softmax

    rows = opened.predictions.test_rows()
    logits = head.logits(encoder.pooled_of(rows["image_id"]))
    scores = expit(logits) if opened.predictions.kind == "multilabel" else softmax(logits, axis=1)
    far = float(np.nanmax(np.abs(scores - opened.predictions.scores(rows)), initial=0))
    if far > SAME_SCORE:
        raise UserError(
            f"the head of {opened.encoder}, fitted again, gives scores up to {far:.2f} away from those saved: "
            "the data or the encoder have changed; run the cell again"
        )
