"""Does a chest X-ray's embedding know the ECG and the blood tests that were taken with it?"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrbench.data.manifest import Manifest
from cxrbench.encoders.ecg import MEASUREMENTS
from cxrbench.errors import NotApplicableError
from cxrbench.features.array_cache import cached_array
from cxrbench.predictions import Predictions
from cxrbench.task import Asked, Cell, FrozenEncoder, Need, OptionName, Task, TaskOptions
from cxrbench.tasks.fractions import label_fraction
from cxrbench.tasks.retrieval.studies import cosine, counted, rank_columns, retrieved, study_means, study_rows
from cxrbench.tasks.retrieval.targets import StudyTargets, ecg_targets, labs_targets, taught_targets
from cxrbench.tasks.retrieval.teachers import FrozenTeacher, taught_ecgs, taught_labs
from cxrbench.tasks.ridge import fit_ridge
from cxrbench.tasks.standardize import Standardizer

STRENGTH = 10.0  # PaCX-MAE's alpha
ECG, LABS = "ecg", "labs"

Array = NDArray[np.float64]
Rows = NDArray[np.integer]


def measured_ecgs(paths: Sequence[Path]) -> NDArray[np.float32]:
    """``ecg_embeddings``, which is not needed to plan."""
    from cxrbench.encoders.ecg.features import ecg_embeddings

    return ecg_embeddings(paths)


@dataclass(frozen=True, kw_only=True)
class Physiology(Task):
    """The ``physiology`` protocol: PaCX-MAE's alignment table (arXiv 2606.01537), on frozen embeddings of anything.

    One ridge map (alpha 10) per modality, from standardized image embeddings (means over the images of a study) to
    target embeddings of training studies; nothing is selected, so validation studies are not used. Test studies that
    have the modality are its queries and its gallery. Cosine and R² compare prediction and target; recall@k asks
    whether the k targets nearest to the prediction (cosine) hold the right one, equal targets being one answer.

    * ``labs``: each test's percentile, missing ones filled with the training mean, beside one column per test that says
      whether it was made; all standardized by the training studies.
    * ``ecg``: ``embed_ecg`` of the recordings, standardized, missing features filled with the training mean, then the
      first ``components`` principal components, not rescaled: cosine and R² mean what they mean before the rotation.

    With ``ecg_teacher`` or ``labs_teacher``, files of weights, that modality's targets are a frozen network's instead,
    as in PaCX-MAE's table: ECGFounder's 1024 features (or any Net1D's) of the recording; the code, 256 numbers, of an
    autoencoder of percentiles and which tests were made. As in its code (Stage3_ALI.py) the ridge map is to the
    embeddings as they are, and recall@k ranks by their cosine. The ``cosine`` is about the mean of the training studies
    (the code prints it raw and about the mean of the test studies): what all embeddings share tells nothing.
    """

    name: str = "physiology"
    summary: str = "image to ECG and laboratory values, ridge map: cosine, R2, recall@1/5/10"
    sees_test_truth: bool = True
    needs: tuple[Need, ...] = ("signals",)
    of_paper: str = "pacx"
    reads: frozenset[OptionName] = frozenset({"ecg_teacher", "labs_teacher"})
    embed_ecg: Callable[[Sequence[Path]], NDArray[np.float32]] = measured_ecgs
    embedder: str = MEASUREMENTS
    components: int = 64
    ecg: FrozenTeacher | None = None
    labs: FrozenTeacher | None = None

    @property
    def asks(self) -> frozenset[Asked] | None:
        """Image embeddings, beside those of ECGs."""
        return frozenset({"pooled", "network"})

    @property
    def settings(self) -> tuple[str, ...]:
        """The teachers' names, if there are any."""
        return tuple(f"{label}-{teacher.name}" for label, teacher in ((ECG, self.ecg), (LABS, self.labs)) if teacher)

    @property
    def version(self) -> str:
        """The protocol's own, and the ECG embedding's or that of the teachers' files."""
        ecg = f"{self.embedder} {self.components}" if self.ecg is None else f"ecg {self.ecg.fingerprint}"
        return f"{self.revision} {ecg}" + ("" if self.labs is None else f" labs {self.labs.fingerprint}")

    def configured(self, options: TaskOptions) -> Task:
        """``ecg_teacher``, ``labs_teacher``: files of weights. Raises UserError if there is no such file."""
        ecg, labs = (
            None if path is None else FrozenTeacher(path.expanduser(), option).located()
            for path, option in ((options.ecg_teacher, "--ecg-teacher"), (options.labs_teacher, "--labs-teacher"))
        )
        super().configured(options)  # refuses presets
        return replace(self, ecg=ecg, labs=labs)

    def not_applicable(self, manifest: Manifest) -> str | None:
        """It needs ECGs or laboratory values of two training and two test studies."""
        if reason := super().not_applicable(manifest):
            return reason
        studies = study_signals(manifest)
        if any(_enough(studies, present) for present in (has_ecg(studies), has_labs(studies))):
            return None
        return "fewer than two of its training or test studies have an ECG or laboratory values"

    def seeds_matter(self, fraction: float) -> bool:
        """A seed only draws the training studies."""
        return fraction < 1

    def run(self, encoder: FrozenEncoder, manifest: Manifest, cell: Cell) -> Predictions:
        """Fit on training studies, predict test studies, compare."""
        studies = study_signals(manifest)
        split = studies["split"].to_numpy(str)
        x = study_means(encoder.pooled(manifest), manifest, studies)
        patients = studies["patient_id"].to_numpy(str)
        of_train = np.flatnonzero(split == "train")
        none = np.zeros((len(of_train), 0), np.float32)
        kept = np.zeros(len(studies), bool)
        kept[of_train[label_fraction(patients[of_train], none, cell.fraction, cell.seed)]] = True
        columns: dict[str, object] = {}
        labels: list[str] = []
        scored: list[str] = []
        for label, present in ((ECG, has_ecg(studies)), (LABS, has_labs(studies))):
            train, test = np.flatnonzero(present & kept), np.flatnonzero(present & (split == "test"))
            if len(train) < 2 or len(test) < 2:
                continue
            targets = self._targets(label, encoder, manifest, studies, train, test)
            standardize = Standardizer.of(x[train])
            (ridge,) = fit_ridge(standardize(x[train]), targets.train, (STRENGTH,))
            places = np.searchsorted(np.flatnonzero(split == "test"), test)
            answers = np.unique(np.nan_to_num(targets.measured, nan=-1), axis=0, return_inverse=True)[1].reshape(-1)
            predicted = ridge(standardize(x[test]))
            rows = int((split == "test").sum())
            columns |= compared(label, predicted, targets.test, answers, places, rows, targets.centre)
            labels.append(label)
            scored.append(f"{label}: {counted(studies.iloc[test])}")
        if not labels:
            raise NotApplicableError("at this label fraction fewer than two training studies have ECG or labs")
        used = int(np.isin(manifest.images["study_id"].to_numpy(str), studies["study_id"].to_numpy(str)[kept]).sum())
        queries = studies.iloc[np.flatnonzero(split == "test")]
        return retrieved(
            queries, columns, tuple(labels), encoder, manifest, cell, (*scored, *self._notes(labels)), used
        )

    def _targets(
        self, label: str, encoder: FrozenEncoder, manifest: Manifest, studies: pd.DataFrame, train: Rows, test: Rows
    ) -> StudyTargets:
        """Of a modality, of these rows of ``studies``."""
        if label == LABS:
            seen, queried = (_labs(studies)[rows] for rows in (train, test))
            if self.labs is None:
                return labs_targets(seen, queried)
            return taught_targets(taught_labs(self.labs, seen), taught_labs(self.labs, queried), queried)
        names = studies["ecg"].to_numpy(str)[np.concatenate([train, test])]
        if self.ecg is None:
            embedded = self._ecg(encoder, manifest, names)
            return ecg_targets(embedded[: len(train)], embedded[len(train) :], self.components)
        paths = [manifest.root / name for name in names]
        context = encoder.context
        embedded = taught_ecgs(self.ecg, paths, context.scratch / "ecg", str(context.options.device))
        return taught_targets(embedded[: len(train)], embedded[len(train) :], embedded[len(train) :])

    def _ecg(self, encoder: FrozenEncoder, manifest: Manifest, names: NDArray[np.str_]) -> NDArray[np.float32]:
        """Embeddings of recordings by their paths in the manifest, kept in the cache for other encoders."""
        paths = [manifest.root / name for name in names]
        facts = [self.embedder, [[str(path), *_stamp(path)] for path in paths]]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return cached_array(encoder.context.scratch / "ecg" / f"{key}.npy", lambda: self.embed_ecg(paths))

    def _notes(self, labels: Sequence[str]) -> tuple[str, ...]:
        """What the targets are, where a reader could take them for others."""
        notes = [f"{label}: embeddings of {teacher.path.name}, sha256 {teacher.fingerprint[:16]}"
                 for label, teacher in ((ECG, self.ecg), (LABS, self.labs)) if teacher and label in labels]  # fmt: skip
        if ECG in labels and self.ecg is None:
            notes.insert(0, f"ECG embedding {self.embedder}, not a trained network's")
        return tuple(notes)


TASK = Physiology()


def study_signals(manifest: Manifest) -> pd.DataFrame:
    """``study_rows`` of the studies in ``manifest.signals``, with its columns ``ecg`` and ``lab:NAME``."""
    if manifest.signals is None:
        raise NotApplicableError(f"{manifest.name} has no ECGs or laboratory values")
    signals = manifest.signals.drop_duplicates("study_id")
    return study_rows(manifest).merge(signals, on="study_id", how="inner", validate="one_to_one")


def has_ecg(studies: pd.DataFrame) -> NDArray[np.bool_]:
    """Which studies [n] have a recording."""
    if "ecg" not in studies:
        return np.zeros(len(studies), bool)
    return studies["ecg"].fillna("").to_numpy(str) != ""


def has_labs(studies: pd.DataFrame) -> NDArray[np.bool_]:
    """Which studies [n] have a laboratory value."""
    return np.asarray(np.isfinite(_labs(studies)).any(1))


def compared(
    label: str,
    predicted: Array,
    truth: Array,
    answers: NDArray[np.integer],
    places: NDArray[np.integer],
    rows: int,
    centre: Array | float = 0.0,
) -> dict[str, object]:
    """The columns of a modality for ``rows`` queries, of which those at ``places`` have it.

    predicted, truth: [n, D]; answers: [n], equal where the truth is the same answer; places: [n]; centre: [D], about
    which cosines are taken, but for those that rank.
    """
    from cxrbench.tasks.retrieval.ranking import first_ranks

    ranks, alike, similarity, error = (np.full(rows, np.nan) for _ in range(4))
    ranks[places] = first_ranks(predicted, truth, answers, answers)
    alike[places] = np.bincount(answers)[answers]
    similarity[places] = cosine(predicted - centre, truth - centre)
    error[places] = ((predicted - truth) ** 2).sum(1)
    rows_of_truth: list[Array | None] = [None] * rows
    for place, row in zip(places, truth, strict=True):
        rows_of_truth[place] = row
    return {
        **rank_columns(label, ranks, np.nan_to_num(alike).astype(np.int64)),
        f"value:cosine:{label}": similarity,
        f"squared_error:{label}": error,
        f"truth:{label}": rows_of_truth,
    }


def _labs(studies: pd.DataFrame) -> Array:
    names = [str(name) for name in studies.columns if str(name).startswith("lab:")]
    return studies[names].to_numpy(np.float64)


def _enough(studies: pd.DataFrame, present: NDArray[np.bool_]) -> bool:
    split = studies["split"].to_numpy(str)
    return all((present & (split == one)).sum() >= 2 for one in ("train", "test"))


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a recording's file, so that a replaced one is noticed; zeros where there is none."""
    file = path.with_name(path.name.partition("#")[0])
    if not file.is_file():
        return 0, 0
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns
