"""Studies with several views: which images take part, and how their predictions become the study's."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxrbench.data.manifest import SPLITS, Manifest
from cxrbench.data.splits import shared_patients
from cxrbench.data.subsets.selection import UNUSED
from cxrbench.predictions import Predictions
from cxrbench.task import Cell, FrozenEncoder, Views, predictions_of
from cxrbench.tasks.fractions import more_than_asked

FRONTAL_FIRST = {"PA": 0, "AP": 1, "": 2, "L": 3}
OF_TWO = ("1of2", "2of2")
Fusion = Literal["logits", "scores"]
ClassifierKind = Literal["multilabel", "multiclass"]
Logits = NDArray[np.float64]


def setting(views: Views | None) -> tuple[str, ...]:
    """What a protocol's name says of the views: ``views2``, ``views1of2``."""
    return (f"views{views}",) if views else ()


def not_applicable(manifest: Manifest, views: Views | None) -> str | None:
    """Why the dataset's studies cannot be predicted from ``views`` of them, or None."""
    if views is None:
        return None
    images = manifest.images
    studies, splits = images["study_id"].fillna("").to_numpy(str), images["split"].to_numpy(str)
    if "" in studies:
        return "some images belong to no study, so their views cannot be fused"
    if shared_patients(studies.tolist(), splits.tolist()):
        return "some studies have images in two splits, so their views cannot be fused"
    if views in OF_TWO:
        left = rows_with_views(manifest, views)
        empty = [split for split in SPLITS if len(manifest.rows_of(split)) and not len(left.rows_of(split))]
        if empty:
            return f"its {' and '.join(empty)} split has no study of exactly two images"
    if manifest.kind == "multiclass" and (manifest.study_targets().sum(axis=1) > 1).to_numpy().any():
        return "some studies have images of different classes"
    return None


def rows_with_views(manifest: Manifest, views: Views | None) -> Manifest:
    """The manifest with the images that take part, the others' split being ``unused``.

    ``1``: one frontal image per study, PA before AP before unknown; the lateral one where there is no other. ``2``:
    that, and the first lateral image where there is one. ``all``, None: every image. ``1of2``, ``2of2``: one (as
    above) or both of the images of studies that have exactly two, whatever their views; other studies take no part, so
    that the two predict the same ones. Ties go to the smaller image id, so every view count predicts the same studies
    and the choice depends on nothing else.
    """
    if views in (None, "all"):
        return manifest
    images = manifest.images
    if views in OF_TWO:
        _, study, sizes = np.unique(images["study_id"].to_numpy(str), return_inverse=True, return_counts=True)
        two = sizes[study] == 2
        manifest = replace(manifest, images=images.assign(split=images["split"].where(two, UNUSED)))
        return manifest if views == "2of2" else rows_with_views(manifest, "1")
    rank = np.array([FRONTAL_FIRST.get(view, FRONTAL_FIRST[""]) for view in images["view"]])
    order = np.lexsort((np.arange(len(images)), rank))
    studies = images["study_id"].to_numpy(str)
    _, first = np.unique(studies[order], return_index=True)
    chosen = np.zeros(len(images), bool)
    chosen[order[first]] = True
    if views == "2":
        lateral = np.flatnonzero((images["view"] == "L").to_numpy())
        _, first = np.unique(studies[lateral], return_index=True)
        chosen[lateral[first]] = True
    return replace(manifest, images=images.assign(split=images["split"].where(chosen, UNUSED)))


def probabilities(logits: Logits, kind: ClassifierKind) -> Logits:
    """Sigmoid of each label's logit, or softmax over the classes: [..., L]."""
    from scipy.special import expit, softmax

    return expit(logits) if kind == "multilabel" else softmax(logits, axis=-1)


def fuse(
    logits: Logits, groups: Sequence[str], kind: ClassifierKind, fusion: Fusion = "logits"
) -> tuple[list[str], Logits]:
    """Late fusion: the names of the groups, sorted, and each one's probabilities [groups, L].

    logits: [n, L] of single images; ``groups``: [n], the study of each. ``logits``: the probability of the mean logit
    over a study's images, as MVMAE's code does; ``scores``: the mean of the probabilities, as its paper says.
    """
    names, inverse = np.unique(np.asarray(groups, str), return_inverse=True)
    values = logits if fusion == "logits" else probabilities(logits, kind)
    counts = np.bincount(inverse, minlength=len(names))
    sums = np.stack([np.bincount(inverse, column, minlength=len(names)) for column in values.T], axis=1)
    means = sums / counts[:, None]
    return names.tolist(), probabilities(means, kind) if fusion == "logits" else means


def classified(
    logits: Logits,
    rows: NDArray[np.int64],
    manifest: Manifest,
    encoder: FrozenEncoder,
    cell: Cell,
    *,
    views: Views | None = None,
    fusion: Fusion = "logits",
    train_images: int,
    notes: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
) -> Predictions:
    """Predictions from logits [len(rows), L] of validation and test rows of a manifest: of images, or of studies.

    The rows of studies carry the study's id as ``image_id``, and the cell the fact ``unit: study``. ``manifest`` has
    the splits of ``rows_with_views``; a study's target comes from all of its images, whichever take part. ``facts`` go
    into the cell (what was chosen on validation).
    """
    notes = (*notes, *more_than_asked(cell.fraction, train_images, len(manifest.rows_of("train"))))
    images = manifest.images.iloc[rows]
    if views is None:
        scores = probabilities(logits, manifest.kind)
        targets = manifest.targets()[rows].astype(float)
    else:
        studies, scores = fuse(logits, images["study_id"].tolist(), manifest.kind, fusion)
        images = images.groupby("study_id")[["patient_id", "split"]].first().loc[studies].reset_index(names="image_id")
        targets = manifest.study_targets().loc[studies].to_numpy(np.float64)
    return predictions_of(
        cell, encoder, manifest, images, of_labels(manifest.labels, scores, targets), labels=manifest.labels,
        kind=manifest.kind, groups=manifest.groups, notes=notes,
        facts={"train_images": train_images, **({} if views is None else {"unit": "study"}), **(facts or {})},
    )  # fmt: skip


def of_labels(labels: Sequence[str], scores: Logits, targets: Logits) -> dict[str, Logits]:
    """The columns ``score:LABEL`` and ``target:LABEL`` of scores and targets [n, L]."""
    columns = {f"score:{label}": scores[:, i] for i, label in enumerate(labels)}
    return columns | {f"target:{label}": targets[:, i] for i, label in enumerate(labels)}
